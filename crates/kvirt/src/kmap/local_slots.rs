//! Which of a CPU's slots are taken.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};

use crate::mutant::{Mutant, is_on};

/// Slots of each CPU (`KM_MAX_IDX`).
pub(crate) const DEPTH: u32 = 16;

/// One CPU's slots, a bit each. On a cache line of its own.
///
/// A CPU that nests takes them like a stack. Interrupt handlers, and on some
/// hosts other threads, may come in between at any instruction, so bits are
/// taken and given back by single operations.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct LocalSlots(AtomicU32);

impl LocalSlots {
    /// Takes the lowest free slot.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut taken = self.0.load(Ordering::Relaxed);
        loop {
            let slot = taken.trailing_ones();
            if slot >= DEPTH {
                return None;
            }
            let with = taken | 1 << slot;
            if is_on(Mutant::LocalInTwoSteps) {
                self.0.store(with, Ordering::Relaxed);
                return Some(slot);
            }
            match self
                .0
                .compare_exchange(taken, with, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(slot),
                Err(seen) => taken = seen,
            }
        }
    }

    /// Gives a slot back whose translation this CPU has forgotten.
    pub(crate) fn give(&self, slot: u32) {
        self.0.fetch_and(!(1 << slot), Ordering::Release);
    }

    /// How many are taken.
    pub(crate) fn depth(&self) -> u32 {
        self.0.load(Ordering::Relaxed).count_ones()
    }
}
