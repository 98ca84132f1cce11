//! A thread group: what its tasks share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};
use foliant_uapi::resource::Resource;

use crate::creds::Credentials;
use crate::limits::Limits;
use crate::machine::UserMachine;
use crate::park::WaitQueue;
use crate::pid::Pid;
use crate::sched::Sched;
use crate::signal::{Actions, Pending, Signal};
use crate::task::Task;
use crate::timer::ProcessTimers;
use crate::wait::{Usage, WaitStatus};

/// A process.
///
/// # Linux source concept
/// `signal_struct` and `sighand_struct`.
pub struct Process<M: UserMachine> {
    id: Pid,
    /// The machine, to kick tasks.
    pub(crate) machine: M,
    /// Its tasks and their signals: the signal lock.
    pub(crate) group: SpinLock<Group<M>>,
    /// What it does about signals, perhaps shared (`CLONE_SIGHAND`). Inside
    /// the signal lock.
    actions: SpinLock<Arc<SpinLock<Actions>>>,
    /// Woken when a child ends, stops or continues.
    pub child_events: WaitQueue,
    /// Woken when a signal arrives for any of its tasks (for `signalfd`).
    pub signal_arrivals: WaitQueue,
    /// Woken when one of its tasks has ended (for `execve`).
    pub(crate) task_ended: WaitQueue,
    /// Woken when the process has become a zombie (for pidfds).
    pub ended: WaitQueue,
    /// Its resource limits.
    pub(crate) limits: SpinLock<Limits>,
    /// Its interval and POSIX timers.
    pub(crate) timers: SpinLock<ProcessTimers<M>>,
    /// Used by tasks that have ended, and by children waited for.
    pub(crate) usage: SpinLock<PastUsage>,
    /// What is known of its leader once that has ended.
    pub(crate) remains: SpinLock<Option<Remains>>,
    /// What its space had counted when the process came to it.
    pub(crate) inherited_faults: SpinLock<FaultBase>,
    /// `personality` bits.
    pub(crate) personality: AtomicU32,
    /// `PR_SET_DUMPABLE`.
    pub(crate) dumpable: AtomicU8,
    /// How much likelier (up to 1000) or unlikelier than others it is to be
    /// chosen when memory is out.
    pub(crate) oom_adjustment: AtomicI32,
    /// What others than the administrator may lower that to.
    pub(crate) oom_least: AtomicI32,
    /// Kinds of memory that a core dump would hold (`coredump_filter`).
    pub(crate) dump_filter: AtomicU32,
}

/// Private and shared anonymous memory, headers of programs, private huge pages.
///
/// # Linux source concept
/// `MMF_DUMP_FILTER_DEFAULT`.
const DUMP_FILTER: u32 = 0x33;

/// Resources used by those who are no more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PastUsage {
    /// By tasks of the process.
    pub(crate) tasks: Usage,
    /// By children that were waited for, and theirs.
    pub(crate) children: Usage,
}

/// What a leader that has ended is remembered by, until it is waited for.
#[derive(Clone)]
pub(crate) struct Remains {
    pub(crate) name: [u8; 16],
    pub(crate) creds: Arc<Credentials>,
    pub(crate) started: Nanos,
    pub(crate) sched: Sched,
    /// How often it has slept.
    pub(crate) naps: u64,
}

impl Remains {
    pub(crate) fn of<M: UserMachine>(task: &Task<M>) -> Self {
        Self {
            name: task.name(),
            creds: task.creds(),
            started: task.started(),
            sched: *task.sched.lock(),
            naps: task.parker().naps(),
        }
    }
}

/// Faults that a space had counted at some moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultBase {
    pub(crate) minor: u64,
    pub(crate) major: u64,
}

/// What the signal lock protects.
pub(crate) struct Group<M: UserMachine> {
    /// Tasks that have not ended, the leader first.
    pub(crate) tasks: Vec<Arc<Task<M>>>,
    /// Signals for whichever task takes them.
    pub(crate) pending: Pending,
    /// Set once the whole process is to end.
    pub(crate) exiting: Option<WaitStatus>,
    /// The task that replaces the image; all others are to end.
    pub(crate) execing: Option<Pid>,
    /// How many of `tasks` have begun to leave their space for good.
    pub(crate) leaving: usize,
    /// What the leader passed to `exit`.
    pub(crate) leader_exit: WaitStatus,
    /// Job control.
    pub(crate) stop: Stop,
}

/// The job-control state of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stop {
    /// The signal that stopped it, or is about to.
    pub(crate) signal: Option<Signal>,
    /// Tasks that still have to stop.
    pub(crate) missing: u32,
    /// Whether all have.
    pub(crate) complete: bool,
    /// What the parent is to be told by the first task that runs again.
    pub(crate) notice: Option<Notice>,
}

/// A change of job-control state that the parent hears of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// Stopped by this signal.
    Stopped(Signal),
    /// Continued.
    Continued,
}

impl<M: UserMachine> Process<M> {
    /// A process without tasks.
    pub(crate) fn new(id: Pid, machine: M, actions: Arc<SpinLock<Actions>>, limits: Limits) -> Self {
        Self {
            id,
            machine,
            group: SpinLock::new(Group {
                tasks: Vec::new(),
                pending: Pending::default(),
                exiting: None,
                execing: None,
                leaving: 0,
                leader_exit: WaitStatus::Exited(0),
                stop: Stop::default(),
            }),
            actions: SpinLock::new(actions),
            child_events: WaitQueue::new(),
            signal_arrivals: WaitQueue::new(),
            task_ended: WaitQueue::new(),
            ended: WaitQueue::new(),
            limits: SpinLock::new(limits),
            timers: SpinLock::new(ProcessTimers::default()),
            remains: SpinLock::new(None),
            usage: SpinLock::new(PastUsage::default()),
            inherited_faults: SpinLock::new(FaultBase::default()),
            personality: AtomicU32::new(0),
            dumpable: AtomicU8::new(1),
            oom_adjustment: AtomicI32::new(0),
            oom_least: AtomicI32::new(0),
            dump_filter: AtomicU32::new(DUMP_FILTER),
        }
    }

    /// Takes over what a child has from its parent.
    pub(crate) fn inherit(&self, parent: &Self) {
        let same32 = |to: &AtomicU32, from: &AtomicU32| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        let same = |to: &AtomicI32, from: &AtomicI32| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        same32(&self.personality, &parent.personality);
        same32(&self.dump_filter, &parent.dump_filter);
        same(&self.oom_adjustment, &parent.oom_adjustment);
        same(&self.oom_least, &parent.oom_least);
        let dumpable = parent.dumpable.load(Ordering::Relaxed);
        self.dumpable.store(dumpable, Ordering::Relaxed);
    }

    /// Its number (`getpid`).
    pub fn id(&self) -> Pid {
        self.id
    }

    /// Its tasks that have not ended, the leader first.
    pub fn tasks(&self) -> Vec<Arc<Task<M>>> {
        self.group.lock().tasks.clone()
    }

    /// Some task that stands for it: the leader, while it lives.
    pub fn any_task(&self) -> Option<Arc<Task<M>>> {
        self.group.lock().tasks.first().cloned()
    }

    /// A limit's soft value, bytes or counts; `u64::MAX` is no limit.
    pub fn limit(&self, which: Resource) -> u64 {
        self.limits.lock().get(which).cur
    }

    /// `personality` bits.
    pub fn personality(&self) -> u32 {
        self.personality.load(Ordering::Relaxed)
    }

    /// Whether job control has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.group.lock().stop.complete
    }

    /// What it does about signals.
    pub(crate) fn actions(&self) -> Arc<SpinLock<Actions>> {
        self.actions.lock().clone()
    }

    /// Gives it a table of its own (`execve`).
    pub(crate) fn set_actions(&self, actions: Arc<SpinLock<Actions>>) {
        *self.actions.lock() = actions;
    }
}
