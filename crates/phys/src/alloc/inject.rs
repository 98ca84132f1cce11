//! Allocations that fail because a test says so.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

/// Counts down to an allocation that fails.
#[derive(Debug, Default)]
pub(crate) struct Injector {
    /// How many allocations until one fails; zero when none will.
    left: AtomicU64,
}

impl Injector {
    /// Makes the `nth` allocation from now fail; zero for none.
    pub(crate) fn arm(&self, nth: u64) {
        self.left.store(nth, Ordering::Relaxed);
    }

    /// Whether this allocation is the one.
    #[inline]
    pub(crate) fn hits(&self) -> bool {
        self.left.load(Ordering::Relaxed) != 0 && self.step()
    }

    #[cold]
    fn step(&self) -> bool {
        let step = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) == Ok(1)
    }
}
