//! Reading and writing words of early tables.
#![allow(unsafe_code)]

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr};

/// The bytes of frames that were taken for tables.
#[derive(Debug)]
pub(super) struct TableWords<P> {
    platform: P,
}

impl<P: Platform> TableWords<P> {
    /// # Safety
    /// 1. Every frame that [`clear`](Self::clear) and the others are asked for
    ///    is RAM of `platform` and was taken for a table.
    /// 2. Nobody else makes references to its bytes but as atomics.
    pub(super) unsafe fn new(platform: P) -> Self {
        Self { platform }
    }

    /// Whether `at` is the same RAM in `platform` as here.
    pub(super) fn is_of(&self, platform: &P, at: PhysAddr) -> bool {
        platform.ram(at) == self.platform.ram(at)
    }

    /// Empties the table in `frame`.
    pub(super) fn clear(&self, frame: Pfn) {
        for at in (0..PAGE_SIZE as u64).step_by(8) {
            self.store(frame.base() + at, 8, 0);
        }
    }

    pub(super) fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        match bytes {
            4 => u64::from(self.half(at).load(Ordering::Acquire)),
            _ => self.whole(at).load(Ordering::Acquire),
        }
    }

    pub(super) fn store(&self, at: PhysAddr, bytes: u64, word: u64) {
        match bytes {
            4 => self.half(at).store(word as u32, Ordering::Release),
            _ => self.whole(at).store(word, Ordering::Release),
        }
    }

    pub(super) fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match bytes {
            4 => {
                let done = self
                    .half(at)
                    .compare_exchange(old as u32, new as u32, success, failure);
                done.map(drop).map_err(u64::from)
            }
            _ => {
                let done = self.whole(at).compare_exchange(old, new, success, failure);
                done.map(drop)
            }
        }
    }

    fn whole(&self, at: PhysAddr) -> &AtomicU64 {
        assert!(at.is_aligned_to(8), "an entry of 8 bytes at {at:?}");
        // SAFETY: the word lies in RAM that is a table's and shared as atomics
        // only (`new`), and is aligned.
        unsafe { self.platform.ram(at).cast().as_ref() }
    }

    fn half(&self, at: PhysAddr) -> &AtomicU32 {
        assert!(at.is_aligned_to(4), "an entry of 4 bytes at {at:?}");
        // SAFETY: as above.
        unsafe { self.platform.ram(at).cast().as_ref() }
    }
}
