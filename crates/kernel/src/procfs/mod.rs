//! `/proc`: the machine's processes and memory.
//!
//! What has nothing to do with either (processor details, file systems) comes
//! from the directory of the host that this lies over.

mod descriptors;
mod gate;
mod iomem;
mod knobs;
mod limits;
mod machine;
mod memory;
mod process;
mod root;
mod status;
mod sys;
mod sysvipc;
mod vm;
pub(crate) mod zones;

pub(crate) use knobs::integer;
pub use root::root;

use alloc::string::ToString;
use alloc::sync::{Arc, Weak};

use foliant_units::Errno;

use crate::fs::{Caller, NodeRef};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::process::Process;
use crate::task::Task;

/// One process or thread that files tell about.
struct Subject<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    process: Weak<Process<M>>,
    /// The thread, for the directories below `task/`.
    thread: Option<Pid>,
    id: Pid,
}

impl<M: UserMachine> Clone for Subject<M> {
    fn clone(&self) -> Self {
        Self {
            kernel: self.kernel.clone(),
            process: self.process.clone(),
            thread: self.thread,
            id: self.id,
        }
    }
}

impl<M: UserMachine> Subject<M> {
    fn kernel(&self) -> Result<Arc<Kernel<M>>, Errno> {
        self.kernel.upgrade().ok_or(Errno::SRCH)
    }

    fn process(&self) -> Result<Arc<Process<M>>, Errno> {
        self.process.upgrade().ok_or(Errno::SRCH)
    }

    /// The task that stands for it; a zombie has none.
    fn task(&self) -> Result<Arc<Task<M>>, Errno> {
        let process = self.process()?;
        match self.thread {
            None => process.any_task(),
            Some(tid) => process.tasks().into_iter().find(|task| task.tid() == tid),
        }
        .ok_or(Errno::SRCH)
    }

    /// `/proc`, and the subject as who looks at it.
    fn proc(&self) -> Result<(NodeRef<M>, Caller), Errno> {
        let caller = Caller {
            process: self.id.raw(),
            thread: self.id.raw(),
            ..Caller::MACHINE
        };
        let proc = self.kernel()?.files().root().lookup(b"proc", caller)?;
        Ok((proc, caller))
    }

    /// Its directory.
    fn own_directory(&self) -> Result<NodeRef<M>, Errno> {
        let (proc, caller) = self.proc()?;
        proc.lookup(self.id.raw().to_string().as_bytes(), caller)
    }

    /// User and group that own its files.
    fn owner(&self) -> (u32, u32) {
        self.task().map_or((0, 0), |task| {
            let creds = task.creds();
            (creds.uid.effective, creds.gid.effective)
        })
    }
}
