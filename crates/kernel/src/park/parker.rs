//! One sleeping task.

use alloc::sync::Arc;
use core::fmt;

use foliant_platform::Nanos;
use foliant_platform::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A token that one thread waits for and anybody may hand over, as with
/// `std::thread::park`. Made by the machine, one per task.
pub trait Sleeper: Send + Sync + 'static {
    /// Waits until a token is there and takes it, or until `until` has passed.
    /// May return for no reason.
    fn sleep(&self, until: Option<Nanos>);

    /// Hands over the token; two are one.
    fn wake(&self);

    /// The clock in which `until` is told ([`Platform::now`](foliant_platform::Platform::now)).
    fn now(&self) -> Nanos;
}

/// Something that wants to know when a queue is woken.
pub trait Wake: Send + Sync {
    /// Called without locks of the queue; must not block.
    fn wake(&self);
}

/// What may end a wait before its condition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// Any signal that the task would handle.
    BySignal,
    /// Only one that kills it.
    ByKill,
}

/// Why a wait ended before its condition held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// A signal wants the task.
    Signal,
    /// The time is over.
    Timeout,
}

/// A task's sleeping place, with the reasons not to sleep.
pub struct Parker {
    sleeper: Arc<dyn Sleeper>,
    attention: AtomicU32,
    /// [`Doing`] of the moment.
    doing: AtomicU8,
    /// Nanoseconds asleep.
    slept: AtomicU64,
    /// How often it went to sleep.
    naps: AtomicU64,
}

/// What a task does as far as its sleeping place knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// It runs, or could.
    Runs,
    /// It sleeps until a signal at the latest.
    Sleeps,
    /// It sleeps until it is killed at the latest.
    SleepsDeeply,
}

/// A signal is to be handled, or a stop to be taken part in.
const SIGNAL: u32 = 1;
/// The task is to die.
const KILL: u32 = 2;
/// Something is to be done before it returns to user mode, which is no reason
/// not to sleep before.
const LATER: u32 = 4;

impl Parker {
    /// A task that nobody wants.
    pub fn new(sleeper: Arc<dyn Sleeper>) -> Arc<Self> {
        Arc::new(Self {
            sleeper,
            attention: AtomicU32::new(0),
            doing: AtomicU8::new(Doing::Runs as u8),
            slept: AtomicU64::new(0),
            naps: AtomicU64::new(0),
        })
    }

    /// The machine's monotonic clock.
    pub fn now(&self) -> Nanos {
        self.sleeper.now()
    }

    /// Sleeps until `ready` says so. The caller is registered with every queue
    /// that is woken when the answer of `ready` changes.
    ///
    /// # Errors
    /// [`WaitError`]; `ready` was asked once more before giving up.
    pub fn park<R>(
        &self,
        interrupt: Interrupt,
        until: Option<Nanos>,
        mut ready: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        loop {
            if let Some(result) = ready() {
                return Ok(result);
            }
            if self.interrupted(interrupt) {
                return Err(WaitError::Signal);
            }
            if until.is_some_and(|until| self.now() >= until) {
                return Err(WaitError::Timeout);
            }
            self.nap(interrupt, until);
        }
    }

    fn nap(&self, interrupt: Interrupt, until: Option<Nanos>) {
        let doing = match interrupt {
            Interrupt::BySignal => Doing::Sleeps,
            Interrupt::ByKill => Doing::SleepsDeeply,
        };
        let from = self.now();
        self.doing.store(doing as u8, Ordering::Relaxed);
        self.sleeper.sleep(until);
        self.doing.store(Doing::Runs as u8, Ordering::Relaxed);
        let slept = self.now().0.saturating_sub(from.0);
        self.slept.fetch_add(slept, Ordering::Relaxed);
        self.naps.fetch_add(1, Ordering::Relaxed);
    }

    /// What the task does.
    pub fn doing(&self) -> Doing {
        [Doing::Runs, Doing::Sleeps, Doing::SleepsDeeply][usize::from(self.doing.load(Ordering::Relaxed) % 3)]
    }

    /// How long the task has slept here in all.
    pub fn slept(&self) -> Nanos {
        Nanos(self.slept.load(Ordering::Relaxed))
    }

    /// How often it went to sleep.
    pub fn naps(&self) -> u64 {
        self.naps.load(Ordering::Relaxed)
    }

    /// Whether a wait of this kind would end at once.
    pub fn interrupted(&self, by: Interrupt) -> bool {
        let attention = self.attention.load(Ordering::Acquire);
        match by {
            Interrupt::BySignal => attention & (SIGNAL | KILL) != 0,
            Interrupt::ByKill => attention & KILL != 0,
        }
    }

    /// Whether the task has something to do before it returns to user mode.
    pub fn attention(&self) -> bool {
        self.attention.load(Ordering::Acquire) != 0
    }

    /// A signal is to be handled: ends an interruptible wait.
    pub(crate) fn call(&self) {
        self.attention.fetch_or(SIGNAL, Ordering::AcqRel);
        self.sleeper.wake();
    }

    /// The task is to die: ends every wait.
    pub(crate) fn doom(&self) {
        self.attention.fetch_or(KILL | SIGNAL, Ordering::AcqRel);
        self.sleeper.wake();
    }

    /// Something is to be done before the task returns to user mode.
    pub(crate) fn remind(&self) {
        self.attention.fetch_or(LATER, Ordering::AcqRel);
    }

    /// What [`remind`](Self::remind) asked for is done.
    pub(crate) fn reminded(&self) {
        self.attention.fetch_and(!LATER, Ordering::AcqRel);
    }

    /// Nothing is left to handle. The caller holds the signal lock, so that no
    /// [`call`](Self::call) is lost.
    pub(crate) fn calm(&self) {
        self.attention.fetch_and(!SIGNAL, Ordering::AcqRel);
    }
}

impl Wake for Parker {
    fn wake(&self) {
        self.sleeper.wake();
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parker({:#x})", self.attention.load(Ordering::Relaxed))
    }
}
