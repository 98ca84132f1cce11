//! Handing out a fixed piece of memory, from its start to its end.

use core::alloc::Layout;

use foliant_platform::sync::atomic::{AtomicUsize, Ordering};

use super::mutant::{Mutant, is_on};

/// How much of the piece is taken. Nothing comes back.
pub(crate) struct EarlyCursor(AtomicUsize);

impl EarlyCursor {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes bytes of a piece of `room` bytes; where they begin.
    pub(crate) fn take(&self, layout: Layout, room: usize) -> Option<usize> {
        let mut taken = self.taken();
        loop {
            let from = taken.next_multiple_of(layout.align());
            let to = from.checked_add(layout.size()).filter(|&to| to <= room)?;
            if is_on(Mutant::EarlyInTwoSteps) {
                self.0.store(to, Ordering::Relaxed);
                return Some(from);
            }
            match self
                .0
                .compare_exchange_weak(taken, to, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(from),
                Err(seen) => taken = seen,
            }
        }
    }
}
