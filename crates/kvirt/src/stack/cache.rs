//! Stacks that wait for a task, on one CPU.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::VirtAddr;

use crate::mutant::{Mutant, is_on};

/// Stacks that a CPU keeps (`NR_CACHED_STACKS`).
pub(crate) const CACHED: usize = 2;

/// The stacks of one CPU, by address; zero is none. On a cache line of its own.
///
/// Tasks end and begin on a CPU at any time, so a place is emptied and filled
/// by single operations.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct StackCache([AtomicU64; CACHED]);

impl StackCache {
    /// Takes a stack, with what its last user left in it.
    pub(crate) fn take(&self) -> Option<VirtAddr> {
        self.0.iter().find_map(|place| {
            let found = if is_on(Mutant::StackInTwoSteps) {
                let found = place.load(Ordering::Acquire);
                place.store(0, Ordering::Relaxed);
                found
            } else {
                place.swap(0, Ordering::Acquire)
            };
            (found != 0).then_some(VirtAddr::new(found))
        })
    }

    /// Keeps a stack.
    ///
    /// # Errors
    /// The stack, if there is no room.
    pub(crate) fn keep(&self, base: VirtAddr) -> Result<(), VirtAddr> {
        for place in &self.0 {
            if is_on(Mutant::StackOverwritten) && place.load(Ordering::Relaxed) == 0 {
                place.store(base.raw(), Ordering::Release);
                return Ok(());
            }
            let kept = place.compare_exchange(0, base.raw(), Ordering::Release, Ordering::Relaxed);
            if kept.is_ok() {
                return Ok(());
            }
        }
        Err(base)
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.0
            .iter()
            .filter(|place| place.load(Ordering::Relaxed) != 0)
            .count()
    }
}
