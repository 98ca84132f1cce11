//! One sleeping task.

use alloc::sync::Arc;
use core::fmt;

use foliant_platform::Nanos;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};

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
            self.sleeper.sleep(until);
        }
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
