//! Reference counts that stick instead of wrapping.

use foliant_platform::sync::atomic::{AtomicU32, Ordering, fence};

use crate::mutant::{Mutant, is_on, ordering};

/// Counts from here up are wrong; they are pinned to [`SATURATED`].
const LIMIT: u32 = 0x8000_0000;
/// Far from both ends, so that racing steps cannot leave the wrong half.
const SATURATED: u32 = 0xc000_0000;

/// What one [`Count::put`] left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Others remain.
    Some,
    /// That was the last: the caller owns what was counted.
    None,
    /// The count had stuck: what it counts is never released.
    Stuck,
    /// There was nothing to put: the caller never had a reference. The count
    /// now sticks.
    Underflow,
}

/// A count in `0..2^31` that, driven out of its range by a bug or an attack,
/// sticks at a value from which nothing is ever released: a leak is the lesser
/// evil.
///
/// # Linux source concept
/// `refcount_t` semantics for `page_ref`.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

impl Count {
    /// The number, [`u32::MAX`] when it has stuck.
    #[inline]
    pub fn get(&self) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            value if value >= LIMIT => u32::MAX,
            value => value,
        }
    }

    /// Sets the first reference on something that had none and that nobody
    /// else can reach; publishes everything written to it before.
    #[inline]
    pub fn begin(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// One more; the caller has a reference already.
    #[inline]
    pub fn get_another(&self) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before == 0 || before >= LIMIT - 1 {
            self.stick();
        }
    }

    /// One more of something that may well have none, such as the entries that
    /// map a frame.
    pub fn add(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) >= LIMIT - 1 {
            self.stick();
        }
    }

    /// One more unless there is none: for those who found it without holding it.
    #[inline]
    pub fn try_get(&self) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now == 0 && !is_on(Mutant::TryGetRevives) {
                return false;
            }
            if now >= LIMIT - 1 {
                self.stick();
                return true;
            }
            match self
                .0
                .compare_exchange_weak(now, now + 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    /// One less.
    #[must_use = "whoever puts the last reference must release what was counted"]
    #[inline]
    pub fn put(&self) -> Left {
        // Release: what this holder did comes before the release by another.
        match self
            .0
            .fetch_sub(1, ordering(Mutant::PutRelaxed, Ordering::Release))
        {
            1 => {
                // Acquire: what every other holder did came before this.
                if !is_on(Mutant::PutWithoutFence) {
                    fence(Ordering::Acquire);
                }
                Left::None
            }
            0 => {
                self.stick();
                Left::Underflow
            }
            before if before >= LIMIT => {
                self.stick();
                Left::Stuck
            }
            _ => Left::Some,
        }
    }

    /// Takes all `expected` references at once, so that no new one can be had,
    /// if there are exactly that many. [`thaw`](Self::thaw) puts them back.
    pub fn freeze(&self, expected: u32) -> bool {
        if is_on(Mutant::FreezeInTwoSteps) {
            let frozen = self.0.load(Ordering::Acquire) == expected;
            if frozen {
                self.0.store(0, Ordering::Release);
            }
            return frozen;
        }
        self.0
            .compare_exchange(expected, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Puts back what [`freeze`](Self::freeze) took.
    pub fn thaw(&self, count: u32) {
        self.0.store(count, Ordering::Release);
    }

    fn stick(&self) {
        self.0.store(SATURATED, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_put_releases() {
        let count = Count::default();
        count.begin();
        count.get_another();
        assert_eq!(count.put(), Left::Some);
        assert_eq!(count.put(), Left::None);
        assert!(!count.try_get());
    }

    #[test]
    fn an_overflow_sticks_and_never_releases() {
        let count = Count::default();
        count.0.store(LIMIT - 1, Ordering::Relaxed);
        count.get_another();
        assert_eq!(count.get(), u32::MAX);
        assert_eq!(count.put(), Left::Stuck);
        assert_eq!(count.put(), Left::Stuck);
    }

    #[test]
    fn an_underflow_sticks() {
        let count = Count::default();
        assert_eq!(count.put(), Left::Underflow);
        assert_eq!(count.get(), u32::MAX);
    }

    #[test]
    fn a_frozen_count_gives_no_reference() {
        let count = Count::default();
        count.begin();
        assert!(!count.freeze(2));
        assert!(count.freeze(1));
        assert!(!count.try_get());
        count.thaw(1);
        assert!(count.try_get());
    }
}
