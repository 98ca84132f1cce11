//! How many page-table entries map a frame.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};

use super::count::Left;
use crate::mutant::{Mutant, is_on};

/// Counts from here up are wrong; they are pinned to [`SATURATED`].
const LIMIT: u32 = 0x8000_0000;
/// Far from both ends, so that racing steps cannot leave the wrong half.
const SATURATED: u32 = 0xc000_0000;

/// A count that anybody with a reference to the frame may raise from zero, and
/// that sticks instead of wrapping, like [`Count`](super::Count). Unlike there,
/// seeing a one does not mean to be alone.
///
/// # Linux source concept
/// `page->_mapcount`, counted from zero here.
#[derive(Debug, Default)]
pub struct MapCount(AtomicU32);

impl MapCount {
    /// The number, [`u32::MAX`] when it has stuck.
    #[inline]
    pub fn get(&self) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            value if value >= LIMIT => u32::MAX,
            value => value,
        }
    }

    /// One more entry.
    pub fn add(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) >= LIMIT - 1 {
            self.stick();
        }
    }

    /// One entry less; says what is left.
    pub fn put(&self) -> Left {
        if is_on(Mutant::UnmapInTwoSteps) && self.get() == 1 {
            self.0.store(0, Ordering::Relaxed);
            return Left::None;
        }
        match self.0.fetch_sub(1, Ordering::AcqRel) {
            1 => Left::None,
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

    fn stick(&self) {
        self.0.store(SATURATED, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_nothing_and_sticks_below() {
        let maps = MapCount::default();
        maps.add();
        maps.add();
        assert_eq!((maps.get(), maps.put(), maps.put()), (2, Left::Some, Left::None));
        assert_eq!((maps.put(), maps.get()), (Left::Underflow, u32::MAX));
        maps.add();
        assert_eq!(maps.put(), Left::Stuck);
    }
}
