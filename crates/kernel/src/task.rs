//! A task: one thread of a program.

use alloc::sync::Arc;

use foliant_platform::Nanos;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use foliant_units::VirtAddr;

use crate::creds::Credentials;
use crate::exec::Image;
use crate::fs::{Running, TaskFiles};
use crate::machine::UserMachine;
use crate::park::{Parker, WaitQueue};
use crate::pid::Pid;
use crate::process::Process;
use crate::sched::Sched;
use crate::signal::TaskSignals;
use crate::space::Space;

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
    image: SpinLock<Arc<Image>>,
    /// Keeps writers away from the file of the image.
    running: SpinLock<Option<Arc<Running>>>,
    files: TaskFiles<M>,
    creds: SpinLock<Arc<Credentials>>,
    name: SpinLock<[u8; 16]>,
    started: Nanos,
    /// Inside the signal lock of its process.
    pub(crate) signals: SpinLock<TaskSignals>,
    /// Addresses that user code asked to have remembered.
    pub(crate) words: SpinLock<UserWords>,
    /// The exception that it caused last, for signal frames.
    pub(crate) fault: SpinLock<FaultInfo>,
    /// Whom to tell that the parent's image is no longer in use (`vfork`).
    pub(crate) vfork: SpinLock<Option<Arc<Vfork>>>,
    /// The signal it gets when its parent ends (`PR_SET_PDEATHSIG`), or 0.
    pub(crate) death_signal: AtomicU8,
    /// Nanoseconds by which timeouts may be late (`PR_SET_TIMERSLACK`).
    pub(crate) timer_slack: AtomicU64,
    /// Scheduling parameters.
    pub(crate) sched: SpinLock<Sched>,
    /// Faults that needed no input, and those that did.
    pub(crate) faults: Faults,
}

/// The exception that a task caused last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultInfo {
    pub(crate) vector: u8,
    pub(crate) error_code: u64,
    pub(crate) addr: VirtAddr,
}

/// Fault counts of a task.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) minor: AtomicU64,
    pub(crate) major: AtomicU64,
}

/// Addresses in user memory that the kernel acts on when a task ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UserWords {
    /// Cleared and woken at the end (`set_tid_address`).
    pub(crate) clear_child_tid: Option<VirtAddr>,
    /// Head of the list of robust futexes.
    pub(crate) robust_list: Option<VirtAddr>,
}

/// A parent that waits for its `vfork` child to leave the image.
#[derive(Default)]
pub(crate) struct Vfork {
    pub(crate) done: foliant_platform::sync::atomic::AtomicBool,
    pub(crate) queue: WaitQueue,
}

/// What a new task is made of.
pub(crate) struct Parts<M: UserMachine> {
    pub(crate) tid: Pid,
    pub(crate) process: Arc<Process<M>>,
    pub(crate) parker: Arc<Parker>,
    pub(crate) thread: M::Thread,
    pub(crate) space: Arc<Space<M>>,
    pub(crate) image: Arc<Image>,
    pub(crate) running: Option<Arc<Running>>,
    pub(crate) files: TaskFiles<M>,
    pub(crate) creds: Arc<Credentials>,
    pub(crate) signals: TaskSignals,
    pub(crate) sched: Sched,
    pub(crate) words: UserWords,
    pub(crate) vfork: Option<Arc<Vfork>>,
    pub(crate) name: [u8; 16],
    pub(crate) timer_slack: u64,
}

impl<M: UserMachine> Task<M> {
    pub(crate) fn new(parts: Parts<M>) -> Arc<Self> {
        let started = parts.parker.now();
        Arc::new(Self {
            tid: AtomicI32::new(parts.tid.raw()),
            process: parts.process,
            parker: parts.parker,
            thread: parts.thread,
            space: SpinLock::new(Some(parts.space)),
            image: SpinLock::new(parts.image),
            running: SpinLock::new(parts.running),
            files: parts.files,
            creds: SpinLock::new(parts.creds),
            name: SpinLock::new(parts.name),
            started,
            signals: SpinLock::new(parts.signals),
            words: SpinLock::new(parts.words),
            fault: SpinLock::new(FaultInfo::default()),
            vfork: SpinLock::new(parts.vfork),
            death_signal: AtomicU8::new(0),
            timer_slack: AtomicU64::new(parts.timer_slack),
            sched: SpinLock::new(parts.sched),
            faults: Faults::default(),
        })
    }

    /// Its number (`gettid`); changes only when a thread that is not the
    /// leader calls `execve`.
    pub fn tid(&self) -> Pid {
        Pid::new(self.tid.load(Ordering::Relaxed))
    }

    /// Takes over the leader's number (`execve`).
    pub(crate) fn set_tid(&self, tid: Pid) {
        self.tid.store(tid.raw(), Ordering::Relaxed);
    }

    /// The process it belongs to.
    pub fn process(&self) -> &Arc<Process<M>> {
        &self.process
    }

    /// Whether it is its process's leader.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.id()
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

    /// Changes the space, and hands back the old one.
    pub(crate) fn replace_space(&self, space: Option<Arc<Space<M>>>) -> Option<Arc<Space<M>>> {
        core::mem::replace(&mut *self.space.lock(), space)
    }

    /// The program it runs.
    pub fn image(&self) -> Arc<Image> {
        self.image.lock().clone()
    }

    pub(crate) fn set_image(&self, image: Arc<Image>) {
        *self.image.lock() = image;
    }

    /// What keeps writers away from the file that it runs.
    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().clone()
    }

    /// It runs another file, or none.
    pub(crate) fn set_running(&self, running: Option<Arc<Running>>) {
        let before = core::mem::replace(&mut *self.running.lock(), running);
        // The last reference closes the file: not with the lock held.
        drop(before);
    }

    /// Its descriptors and directories.
    pub fn files(&self) -> &TaskFiles<M> {
        &self.files
    }

    /// Who it acts for.
    pub fn creds(&self) -> Arc<Credentials> {
        self.creds.lock().clone()
    }

    /// Makes it act for somebody else.
    pub(crate) fn set_creds(&self, creds: Credentials) {
        *self.creds.lock() = Arc::new(creds);
    }

    /// Its name (`comm`): up to 15 bytes, padded with zeros.
    pub fn name(&self) -> [u8; 16] {
        *self.name.lock()
    }

    /// Names it; what exceeds 15 bytes is cut off.
    pub fn set_name(&self, name: &[u8]) {
        *self.name.lock() = padded_name(name);
    }

    /// The largest resident set of its space so far, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        const KIB_PER_PAGE: u64 = 4;
        self.space()
            .map_or(0, |space| space.count().peak_rss * KIB_PER_PAGE)
    }

    /// When it was made, in the machine's monotonic time.
    pub fn started(&self) -> Nanos {
        self.started
    }
}

/// `name` as a `comm`.
pub(crate) fn padded_name(name: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len())
        .min(15);
    comm[..end].copy_from_slice(&name[..end]);
    comm
}
