//! Reference counts that stick instead of wrapping.

use foliant_platform::sync::atomic::{AtomicU32, Ordering, fence};

use crate::mutant::{Mutant, is_on, ordering};

/// Set while those who hold no reference may find what is counted.
const FINDABLE: u32 = 0x4000_0000;
/// The number itself.
const NUMBER: u32 = FINDABLE - 1;
/// Numbers above this are wrong. As many again are left, so that those who take
/// references before somebody has made the count stick cannot carry it over.
const MOST: u32 = NUMBER / 2;
/// Values from here up are wrong; they are pinned to [`SATURATED`].
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

/// A count in `0..2^29` that, driven out of its range by a bug or an attack,
/// sticks at a value from which nothing is ever released: a leak is the lesser
/// evil.
///
/// A new reference is had in two ways. Whoever holds one, or a lock over a place
/// that holds one, takes [another](Count::get_another). Whoever merely found the
/// number [tries](Count::try_get), which works only after the count was made
/// [findable](Count::make_findable). The difference pays: while a count is not
/// findable and stands at one, the holder is alone and its put needs no locked
/// instruction, which is how most frames of programs end.
///
/// # Linux source concept
/// `page_ref` with the semantics of `refcount_t`.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

impl Count {
    /// The number, [`u32::MAX`] when it has stuck.
    #[inline]
    pub fn get(&self) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            value if value >= LIMIT => u32::MAX,
            value => value & NUMBER,
        }
    }

    /// Sets the first reference on something that had none and that nobody
    /// else can reach; publishes everything written to it before.
    #[inline]
    pub fn begin(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// From now on [`try_get`](Self::try_get) works. The caller holds a
    /// reference; do this before the number can be found by those who do not.
    pub fn make_findable(&self) {
        self.0.fetch_or(FINDABLE, Ordering::Relaxed);
    }

    /// One more; the caller has a reference already.
    #[inline]
    pub fn get_another(&self) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before & NUMBER == 0 || before & NUMBER > most() || before >= LIMIT {
            self.stick();
        }
    }

    /// One more unless there is none, or it is not findable: for those who
    /// found it without holding it.
    pub fn try_get(&self) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let closed = now & FINDABLE == 0 && !is_on(Mutant::TryGetUnfindable);
            let none = now & NUMBER == 0 && !is_on(Mutant::TryGetRevives);
            if closed || none || now >= LIMIT {
                return false;
            }
            if now & NUMBER > most() {
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
    #[inline]
    #[must_use = "whoever puts the last reference must release what was counted"]
    pub fn put(&self) -> Left {
        if self.is_alone() {
            self.end_alone();
            return Left::None;
        }
        self.put_shared()
    }

    /// Whether the caller has the only reference and nobody can find another:
    /// then it may [end](Self::end_alone) the count without a locked instruction.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        // Acquire: what earlier holders did comes before the release by this one.
        self.0.load(ordering(Mutant::PutAloneRelaxed, Ordering::Acquire)) == 1
    }

    /// Puts the reference of someone who is [alone](Self::is_alone).
    #[inline]
    pub(crate) fn end_alone(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    #[inline(never)]
    fn put_shared(&self) -> Left {
        // Release: what this holder did comes before the release by another.
        let before = self
            .0
            .fetch_sub(1, ordering(Mutant::PutRelaxed, Ordering::Release));
        match before & NUMBER {
            _ if before >= LIMIT => {
                self.stick();
                Left::Stuck
            }
            0 => {
                self.stick();
                Left::Underflow
            }
            1 => {
                // Acquire: what every other holder did came before this.
                if !is_on(Mutant::PutWithoutFence) {
                    fence(Ordering::Acquire);
                }
                self.0.store(0, Ordering::Relaxed);
                Left::None
            }
            _ => Left::Some,
        }
    }

    /// Takes all `expected` references at once, so that no new one can be had,
    /// if there are exactly that many. [`thaw`](Self::thaw) puts them back.
    pub fn freeze(&self, expected: u32) -> bool {
        if is_on(Mutant::FreezeInTwoSteps) {
            let frozen = self.get() == expected;
            if frozen {
                self.0.fetch_and(!NUMBER, Ordering::Relaxed);
            }
            return frozen;
        }
        let findable = self.0.load(Ordering::Relaxed) & FINDABLE;
        let all = findable | expected;
        self.0
            .compare_exchange(all, findable, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Puts back what [`freeze`](Self::freeze) took.
    pub fn thaw(&self, count: u32) {
        self.0.fetch_or(count & NUMBER, Ordering::Release);
    }

    #[cold]
    #[inline(never)]
    fn stick(&self) {
        self.0.store(SATURATED, Ordering::Relaxed);
    }

    /// A count that was taken as often as it may.
    #[cfg(all(test, loom))]
    pub(crate) fn full() -> Self {
        Self(AtomicU32::new(most() + 1))
    }
}

/// The number from which on another reference makes the count stick.
#[inline(always)]
fn most() -> u32 {
    if is_on(Mutant::StickLate) {
        NUMBER - 1
    } else {
        MOST
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
        count.0.store(MOST + 1, Ordering::Relaxed);
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
    fn only_a_findable_count_is_found() {
        let count = Count::default();
        count.begin();
        assert!(!count.try_get());
        count.make_findable();
        assert!(count.try_get());
        assert_eq!(
            (count.get(), count.put(), count.put()),
            (2, Left::Some, Left::None)
        );
        count.begin();
        assert!(!count.try_get(), "findable ends with the last reference");
    }

    #[test]
    fn a_frozen_count_gives_no_reference() {
        let count = Count::default();
        count.begin();
        count.make_findable();
        assert!(!count.freeze(2));
        assert!(count.freeze(1));
        assert!(!count.try_get());
        count.thaw(1);
        assert!(count.try_get());
    }
}
