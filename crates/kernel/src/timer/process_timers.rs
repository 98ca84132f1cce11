//! The timers that a process has set.

use alloc::collections::BTreeMap;
use alloc::sync::Weak;

use foliant_platform::Nanos;
use foliant_uapi::SigInfo;
use foliant_uapi::signal::Signal;

use crate::machine::UserMachine;
use crate::task::Task;

use super::clock::Clock;
use super::queue::TimerId;

/// The timers of a process.
pub struct ProcessTimers<M: UserMachine> {
    /// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`.
    pub(super) interval: [Option<Armed>; 3],
    /// POSIX timers by number.
    pub(crate) posix: BTreeMap<i32, PosixTimer<M>>,
    next: i32,
}

/// Which timer of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// 0 real, 1 virtual, 2 profiling.
    Interval(usize),
    /// A POSIX timer.
    Posix(i32),
}

/// A timer that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    /// The clock it runs by.
    pub(crate) clock: Clock,
    /// When it expires next, by that clock.
    pub(crate) due: Nanos,
    /// From one expiry to the next; zero for once only.
    pub(crate) interval: Nanos,
    /// Its place in the machine's queue.
    pub(crate) place: TimerId,
}

/// What `timer_settime` and `setitimer` say, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Setting {
    /// Until the first expiry; zero if it does not run.
    pub(crate) value: u64,
    /// From one expiry to the next.
    pub(crate) interval: u64,
}

/// A timer of `timer_create`.
pub(crate) struct PosixTimer<M: UserMachine> {
    /// The clock it runs by.
    pub(crate) clock: Clock,
    /// What its expiry does.
    pub(crate) notify: Notify<M>,
    /// `sigev_value`.
    pub(crate) value: u64,
    /// Expirations that the last signal stood for beyond its own.
    pub(crate) overrun: i32,
    /// If it runs.
    pub(crate) armed: Option<Armed>,
    /// What it was set to repeat by, also while it does not run.
    pub(crate) interval: Nanos,
}

/// What the expiry of a POSIX timer does.
pub(crate) enum Notify<M: UserMachine> {
    /// Nothing.
    Nothing,
    /// A signal for the process.
    Process(Signal),
    /// A signal for one of its tasks.
    Task(Signal, Weak<Task<M>>),
}

impl<M: UserMachine> ProcessTimers<M> {
    /// Adds a POSIX timer and numbers it.
    pub(crate) fn add(&mut self, timer: PosixTimer<M>) -> i32 {
        while self.posix.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1) & i32::MAX;
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1) & i32::MAX;
        self.posix.insert(id, timer);
        id
    }

    /// The signal of a POSIX timer was taken.
    pub(crate) fn delivered(&mut self, info: &SigInfo) {
        if let Some(timer) = self.posix.get_mut(&(info.pid() as i32)) {
            timer.overrun = info.uid() as i32;
        }
    }

    pub(super) fn slot(&mut self, which: Which) -> Option<&mut Option<Armed>> {
        match which {
            Which::Interval(index) => self.interval.get_mut(index),
            Which::Posix(id) => self.posix.get_mut(&id).map(|timer| &mut timer.armed),
        }
    }
}

impl<M: UserMachine> Default for ProcessTimers<M> {
    fn default() -> Self {
        Self {
            interval: [None; 3],
            posix: BTreeMap::new(),
            next: 0,
        }
    }
}
