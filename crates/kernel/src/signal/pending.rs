//! Signals that were sent and not yet taken.

use alloc::collections::VecDeque;

use foliant_uapi::signal::{SiCode, SigInfo, SigSet, Signal};

/// Signals that an instruction of the task itself causes; delivered first.
const SYNCHRONOUS: SigSet = SigSet::EMPTY
    .with(Signal::SEGV)
    .with(Signal::BUS)
    .with(Signal::ILL)
    .with(Signal::TRAP)
    .with(Signal::FPE)
    .with(Signal::SYS);

/// Pending signals of a task or of a process, with what came with them.
///
/// # Linux source concept
/// `struct sigpending`.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<(Signal, SigInfo)>,
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
    /// real-time signal every instance is kept. Without `room` only the number
    /// is remembered.
    pub fn add(&mut self, signal: Signal, info: SigInfo, room: bool) {
        if !signal.is_realtime() && self.set.contains(signal) {
            return;
        }
        self.set.insert(signal);
        if room {
            self.queue.push_back((signal, info));
        }
    }

    /// Takes the next one outside `blocked`: those that the task's own
    /// instructions caused first, then by number, then by age.
    pub fn take(&mut self, blocked: SigSet) -> Option<(Signal, SigInfo)> {
        let ready = self.set.difference(blocked);
        let signal = ready.intersection(SYNCHRONOUS).first().or(ready.first())?;
        Some((signal, self.take_one(signal)))
    }

    /// Drops every instance of the signals in `which`.
    pub fn discard(&mut self, which: SigSet) {
        self.set = self.set.difference(which);
        self.queue.retain(|(signal, _)| !which.contains(*signal));
    }

    /// The queued notice of POSIX timer `timer`, to change its overrun count.
    pub fn timer_notice(&mut self, timer: i32) -> Option<&mut SigInfo> {
        let is_its = |info: &SigInfo| info.code == SiCode::TIMER.0 && info.pid() as i32 == timer;
        self.queue
            .iter_mut()
            .map(|(_, info)| info)
            .find(|info| is_its(info))
    }

    fn take_one(&mut self, signal: Signal) -> SigInfo {
        let found = self.queue.iter().position(|(other, _)| *other == signal);
        let taken = found.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(|(other, _)| *other == signal) {
            self.set.remove(signal);
        }
        // Without a record the queue was full when it was sent.
        taken.map_or_else(|| SigInfo::sent(signal, SiCode::USER, 0, 0), |(_, info)| info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(pending: &mut Pending, raw: i32, room: bool) {
        let signal = Signal::from_raw(raw).unwrap();
        pending.add(signal, SigInfo::sent(signal, SiCode::QUEUE, 7, 7), room);
    }

    fn drain(pending: &mut Pending) -> alloc::vec::Vec<u8> {
        core::iter::from_fn(|| pending.take(SigSet::EMPTY))
            .map(|(signal, _)| signal.raw())
            .collect()
    }

    #[test]
    fn classic_signals_are_kept_once_and_realtime_ones_as_often_as_sent() {
        let mut pending = Pending::default();
        for raw in [10, 40, 10, 40, 2] {
            add(&mut pending, raw, true);
        }
        assert_eq!(drain(&mut pending), [2, 10, 40, 40]);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn faults_come_before_lower_numbers() {
        let mut pending = Pending::default();
        for raw in [2, 11, 1] {
            add(&mut pending, raw, true);
        }
        assert_eq!(drain(&mut pending), [11, 1, 2]);
    }

    #[test]
    fn a_signal_without_room_keeps_its_number() {
        let mut pending = Pending::default();
        add(&mut pending, 40, false);
        let (signal, info) = pending.take(SigSet::EMPTY).unwrap();
        assert_eq!((signal.raw(), info.pid()), (40, 0));
        assert!(pending.take(SigSet::EMPTY).is_none());
    }

    #[test]
    fn blocked_signals_stay() {
        let mut pending = Pending::default();
        add(&mut pending, 2, true);
        assert!(pending.take(SigSet::only(Signal::INT)).is_none());
        assert!(pending.set().contains(Signal::INT));
    }
}
