//! Whoever watches what programs do, for reports and traces.

use foliant_mm::{Access, FaultError, Resolved};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::space::Space;
use crate::syscall::Fail;
use crate::task::Task;

/// How a system call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallResult {
    /// It returned this.
    Value(u64),
    /// It failed.
    Failed(Errno),
    /// A signal came; it may be tried again.
    Interrupted,
    /// The task ends.
    Exited,
}

/// Watches programs. Every method is called on the thread that does the work,
/// without locks of the kernel, and holds the program up as long as it takes.
pub trait Observer<M: UserMachine>: Send + Sync {
    /// Whether it wants to hear of every system call. If not, a machine may
    /// answer those whose answer never changes without the kernel.
    fn watches_calls(&self) -> bool {
        true
    }

    /// A system call is about to be carried out.
    fn call_begins(&self, _task: &Task<M>, _nr: u64, _args: [u64; 6]) {}

    /// A system call was carried out; `execve` and `exit` have changed or left
    /// the image by now.
    fn call_ends(&self, _task: &Task<M>, _nr: u64, _args: [u64; 6], _result: CallResult) {}

    /// A page fault of the program itself was resolved or refused.
    fn fault(
        &self,
        _task: &Task<M>,
        _addr: VirtAddr,
        _access: Access,
        _result: Result<Resolved, FaultError>,
    ) {
    }

    /// A process is about to leave its address space: it ends, or executes
    /// another program.
    fn space_ends(&self, _task: &Task<M>, _space: &Space<M>) {}
}

impl<M: UserMachine> Kernel<M> {
    /// Whether every system call has to come to the kernel.
    pub fn calls_are_watched(&self) -> bool {
        self.observer().is_some_and(|observer| observer.watches_calls())
    }

    /// Tells the observer, and segments of shared memory, that the last task of
    /// a process leaves `space`. To
    /// be called before a `vfork` parent is told.
    pub(crate) fn observe_end(&self, task: &Task<M>, space: &Space<M>) {
        // A vfork child leaves its parent's space, which goes on.
        let borrowed = task.vfork.lock().is_some();
        if borrowed {
            return;
        }
        let segments = crate::shm::segments_in(self, space, None);
        crate::shm::note_detached(self, task, &segments);
        if let Some(observer) = self.observer() {
            observer.space_ends(task, space);
        }
    }

    /// Tells the observer how a call went.
    pub(crate) fn observe_call(
        &self,
        task: &Task<M>,
        nr: u64,
        args: [u64; 6],
        answer: &Result<u64, Fail<M>>,
    ) {
        if let Some(observer) = self.observer() {
            let result = match answer {
                Ok(value) => CallResult::Value(*value),
                Err(Fail::Errno(errno)) => CallResult::Failed(*errno),
                Err(Fail::Restart(_)) => CallResult::Interrupted,
                Err(Fail::Exit(_)) => CallResult::Exited,
            };
            observer.call_ends(task, nr, args, result);
        }
    }
}
