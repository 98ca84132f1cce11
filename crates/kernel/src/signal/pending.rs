//! Signals that were sent and not yet taken.

use alloc::collections::VecDeque;

use super::info::{Detail, SigInfo};
use super::number::Signal;
use super::set::SigSet;

/// Pending signals of a task or of a process, with what came with them.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Which are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// How many have their information kept.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Adds one. A classic signal that is pending already is lost; of a
    /// real-time signal every instance is kept while `room` says so.
    pub fn add(&mut self, info: SigInfo, room: bool) {
        if !info.signal.is_realtime() && self.set.has(info.signal) {
            return;
        }
        self.set.add(info.signal);
        if room {
            self.queue.push_back(info);
        }
    }

    /// Takes the next one outside `blocked`: those that the task's own
    /// instructions caused first, then by number, then by age.
    pub fn take(&mut self, blocked: SigSet) -> Option<SigInfo> {
        let ready = self.set.without(blocked);
        let urgent = ready & SigSet::SYNCHRONOUS;
        let signal = if urgent.is_empty() {
            ready.first()?
        } else {
            urgent.first()?
        };
        Some(self.take_one(signal))
    }

    /// Drops every instance of the signals in `which`.
    pub fn discard(&mut self, which: SigSet) {
        self.set = self.set.without(which);
        self.queue.retain(|info| !which.has(info.signal));
    }

    /// Drops the queued notices of one POSIX timer.
    pub fn discard_timer(&mut self, timer: i32) {
        let is_its = |info: &SigInfo| matches!(info.detail, Detail::Timer { id, .. } if id == timer);
        while let Some(at) = self.queue.iter().position(is_its) {
            let Some(info) = self.queue.remove(at) else { return };
            if !self.queue.iter().any(|other| other.signal == info.signal) {
                self.set.remove(info.signal);
            }
        }
    }

    fn take_one(&mut self, signal: Signal) -> SigInfo {
        let found = self.queue.iter().position(|info| info.signal == signal);
        let info = found.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set.remove(signal);
        }
        // The queue was full when it was sent: only the number is known.
        info.unwrap_or(SigInfo {
            signal,
            errno: 0,
            code: super::info::code::SI_USER,
            detail: Detail::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(raw: u64, value: u64) -> SigInfo {
        let signal = Signal::new(raw).unwrap();
        SigInfo {
            signal,
            errno: 0,
            code: -1,
            detail: Detail::Timer {
                id: 0,
                overrun: 0,
                value,
            },
        }
    }

    fn drain(pending: &mut Pending) -> alloc::vec::Vec<u8> {
        core::iter::from_fn(|| pending.take(SigSet::EMPTY))
            .map(|info| info.signal.raw())
            .collect()
    }

    #[test]
    fn classic_signals_are_kept_once_and_realtime_ones_as_often_as_sent() {
        let mut pending = Pending::default();
        for raw in [10, 40, 10, 40, 2] {
            pending.add(sent(raw, 0), true);
        }
        assert_eq!(drain(&mut pending), [2, 10, 40, 40]);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn faults_come_before_lower_numbers() {
        let mut pending = Pending::default();
        for raw in [2, 11, 1] {
            pending.add(sent(raw, 0), true);
        }
        assert_eq!(drain(&mut pending), [11, 1, 2]);
    }

    #[test]
    fn a_signal_without_room_keeps_its_number() {
        let mut pending = Pending::default();
        pending.add(sent(40, 7), false);
        let taken = pending.take(SigSet::EMPTY).unwrap();
        assert_eq!((taken.signal.raw(), taken.detail), (40, Detail::None));
        assert!(pending.take(SigSet::EMPTY).is_none());
    }
}
