//! Regions in memory that memblock gave to itself.

use core::mem::size_of;
use core::ptr::NonNull;
use core::slice;

use foliant_platform::Platform;
use foliant_units::PhysRange;

use super::region::Region;

/// As many regions as fit into some frames.
#[derive(Debug)]
pub(super) struct RamArray {
    first: NonNull<Region>,
    capacity: usize,
    range: PhysRange,
}

// SAFETY: the array owns its frames (condition 2 of `new`), and regions are plain data.
unsafe impl Send for RamArray {}
// SAFETY: as above; a shared array is only read.
unsafe impl Sync for RamArray {}

impl RamArray {
    /// Bytes that `capacity` regions take.
    pub(super) const fn bytes(capacity: usize) -> u64 {
        (capacity * size_of::<Region>()) as u64
    }

    /// An array of empty regions.
    ///
    /// # Safety
    /// 1. `range` is RAM of `platform` and starts page-aligned.
    /// 2. Nobody else uses those bytes until the array is gone.
    /// 3. A clone of `platform` outlives the array.
    pub(super) unsafe fn new<P: Platform>(platform: &P, range: PhysRange) -> Self {
        let first: NonNull<Region> = platform.ram(range.start).cast();
        let capacity = range.len() as usize / size_of::<Region>();
        for at in 0..capacity {
            // SAFETY: conditions 1 and 2; page alignment is more than a region needs.
            unsafe { first.add(at).write(Region::EMPTY) }
        }
        Self {
            first,
            capacity,
            range,
        }
    }

    /// The bytes of the array.
    pub(super) fn range(&self) -> PhysRange {
        self.range
    }

    pub(super) fn as_slice(&self) -> &[Region] {
        // SAFETY: `new` initialised `capacity` regions of memory that is ours alone.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.capacity) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Region] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.capacity) }
    }

    /// Gives the memory up, cleared: what was zeroed RAM is zeroed RAM again.
    pub(super) fn wipe(self) {
        // SAFETY: the range is ours alone (`new`), and `self` ends here.
        unsafe { self.first.cast::<u8>().write_bytes(0, self.range.len() as usize) }
    }
}
