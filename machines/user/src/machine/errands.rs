//! Who runs on which of the machine's threads: for those who ask on whose behalf
//! a frame is allocated.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::{self, ThreadId};

use foliant_kernel::{Task, Trap};
use foliant_phys::{Console, Who};
use foliant_uapi::Sysno;

use super::User;
use super::user::Machine;

/// The tasks that are in the kernel, by the thread that works for each. Kept
/// only once somebody wants to know.
#[derive(Default)]
pub(crate) struct Errands {
    wanted: AtomicBool,
    by_thread: Mutex<HashMap<ThreadId, Errand>>,
}

/// What a thread is about.
struct Errand {
    task: Arc<Task<User>>,
    doing: &'static str,
}

/// While it lives the calling thread works for a task.
pub(crate) struct Entered<'a>(Option<&'a Errands>);

impl Errands {
    /// From now on they are kept.
    pub(crate) fn keep(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The calling thread handles a trap of `task`.
    pub(crate) fn enter(&self, task: &Arc<Task<User>>, trap: &Trap) -> Entered<'_> {
        if !self.wanted.load(Ordering::Relaxed) {
            return Entered(None);
        }
        let errand = Errand {
            task: task.clone(),
            doing: name_of(trap),
        };
        self.lock().insert(thread::current().id(), errand);
        Entered(Some(self))
    }

    /// On whose behalf the calling thread works; as in Linux, what is nobody's
    /// is the swapper's.
    fn who(&self) -> Who {
        let all = self.lock();
        let Some(Errand { task, doing }) = all.get(&thread::current().id()) else {
            return nobody();
        };
        Who {
            pid: task.tid().raw(),
            tgid: task.process().id().raw(),
            comm: task.name(),
            doing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, Errand>> {
        self.by_thread.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(errands) = self.0 {
            // A task may end here, and not under the lock.
            let errand = errands.lock().remove(&thread::current().id());
            drop(errand);
        }
    }
}

fn nobody() -> Who {
    let mut comm = [0; 16];
    comm[..7].copy_from_slice(b"swapper");
    Who {
        comm,
        ..Who::default()
    }
}

fn name_of(trap: &Trap) -> &'static str {
    match trap {
        Trap::Syscall { nr, .. } => {
            let name = u32::try_from(*nr).ok().and_then(|nr| Sysno::new(nr).name());
            name.unwrap_or("system call")
        }
        Trap::PageFault { .. } => "page fault",
        Trap::Exception { .. } => "exception",
        Trap::Kicked => "signal",
    }
}

/// The log of a machine whose frames are watched: this process's own.
pub(crate) struct Log(pub(super) Weak<Machine>);

impl Console for Log {
    fn who(&self) -> Who {
        let machine = self.0.upgrade();
        machine.map_or_else(nobody, |machine| User(machine).errands().who())
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        eprintln!("foliant: {line}");
    }
}
