//! A task: one thread of a program.

use alloc::sync::Arc;

use crate::space::Space;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicI32, Ordering};

use crate::fs::TaskFiles;
use crate::machine::UserMachine;
use crate::park::Parker;
use crate::pid::Pid;
use crate::process::Process;
use crate::signal::{Pending, SigSet};

/// A thread of a program.
///
/// # Linux source concept
/// `task_struct`.
pub struct Task<M: UserMachine> {
    tid: AtomicI32,
    process: Arc<Process<M>>,
    parker: Arc<Parker>,
    thread: M::Thread,
    space: SpinLock<Option<Arc<Space<M>>>>,
    files: TaskFiles<M>,
    /// Inside the signal lock of its process.
    pub(crate) signals: SpinLock<TaskSignals>,
    pub(crate) name: SpinLock<[u8; 16]>,
}

/// A task's own signal state.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskSignals {
    /// Signals for this task alone.
    pub(crate) pending: Pending,
    /// What is held back.
    pub(crate) blocked: SigSet,
    /// What to restore when no signal is delivered (`sigsuspend`, `ppoll`).
    pub(crate) saved_mask: Option<SigSet>,
}

/// What a new task is made of.
pub(crate) struct Parts<M: UserMachine> {
    pub(crate) tid: Pid,
    pub(crate) process: Arc<Process<M>>,
    pub(crate) parker: Arc<Parker>,
    pub(crate) thread: M::Thread,
    pub(crate) space: Arc<Space<M>>,
    pub(crate) files: TaskFiles<M>,
    pub(crate) blocked: SigSet,
    pub(crate) name: [u8; 16],
}

impl<M: UserMachine> Task<M> {
    pub(crate) fn new(parts: Parts<M>) -> Arc<Self> {
        Arc::new(Self {
            tid: AtomicI32::new(parts.tid.raw()),
            process: parts.process,
            parker: parts.parker,
            thread: parts.thread,
            space: SpinLock::new(Some(parts.space)),
            files: parts.files,
            signals: SpinLock::new(TaskSignals {
                blocked: parts.blocked,
                ..TaskSignals::default()
            }),
            name: SpinLock::new(parts.name),
        })
    }

    /// Its number (`gettid`); changes only when a thread that is not the
    /// leader calls `execve`.
    pub fn tid(&self) -> Pid {
        Pid::new(self.tid.load(Ordering::Relaxed))
    }

    /// The process it belongs to.
    pub fn process(&self) -> &Arc<Process<M>> {
        &self.process
    }

    /// Where it sleeps.
    pub fn parker(&self) -> &Arc<Parker> {
        &self.parker
    }

    /// The machine's part of it.
    pub fn thread(&self) -> &M::Thread {
        &self.thread
    }

    /// Its address space; `None` once it has ended.
    pub fn space(&self) -> Option<Arc<Space<M>>> {
        self.space.lock().clone()
    }

    /// Its descriptors and directories.
    pub fn files(&self) -> &TaskFiles<M> {
        &self.files
    }
}
