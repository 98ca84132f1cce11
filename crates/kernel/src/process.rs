//! A thread group: what its tasks share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::sync::SpinLock;

use crate::machine::UserMachine;
use crate::park::WaitQueue;
use crate::pid::Pid;
use crate::signal::{Actions, Pending};
use crate::task::Task;
use crate::wait::Exit;

/// A process.
///
/// # Linux source concept
/// `signal_struct` and `sighand_struct`.
pub struct Process<M: UserMachine> {
    id: Pid,
    /// Its tasks and their signals: the signal lock.
    pub(crate) group: SpinLock<Group<M>>,
    /// What it does about signals, perhaps shared (`CLONE_SIGHAND`). Inside
    /// the signal lock.
    pub(crate) actions: SpinLock<Arc<SpinLock<Actions>>>,
    /// Woken when a child ends, stops or continues.
    pub child_events: WaitQueue,
    /// Woken when a signal arrives for any of its tasks (for `signalfd`).
    pub signal_arrivals: WaitQueue,
}

/// What the signal lock protects.
pub(crate) struct Group<M: UserMachine> {
    /// Tasks that have not ended, the leader first.
    pub(crate) tasks: Vec<Arc<Task<M>>>,
    /// Signals for whichever task takes them.
    pub(crate) pending: Pending,
    /// Set once the whole process is to end.
    pub(crate) exiting: Option<Exit>,
}

impl<M: UserMachine> Process<M> {
    /// A process without tasks.
    pub(crate) fn new(id: Pid, actions: Arc<SpinLock<Actions>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            group: SpinLock::new(Group {
                tasks: Vec::new(),
                pending: Pending::default(),
                exiting: None,
            }),
            actions: SpinLock::new(actions),
            child_events: WaitQueue::new(),
            signal_arrivals: WaitQueue::new(),
        })
    }

    /// Its number (`getpid`).
    pub fn id(&self) -> Pid {
        self.id
    }
}
