//! What the allocator tells of memory, to a direct map that may be gone.

use alloc::sync::Weak;

use foliant_arch::KernelFormat;
use foliant_phys::MapMemory;
use foliant_platform::Mmu;
use foliant_units::{Errno, PfnRange, PhysRange};

use super::map::{FollowingMap, frames_of};

/// The allocator keeps this; the map keeps the tables, and these the allocator.
/// Where no map is left, nobody shows memory, as before there was one.
pub(super) struct Follower<P: Mmu, F: KernelFormat>(pub(super) Weak<FollowingMap<P, F>>);

impl<P: Mmu, F: KernelFormat> MapMemory for Follower<P, F> {
    fn map(&self, range: PhysRange) -> Result<(), Errno> {
        match self.0.upgrade() {
            Some(map) => map.map_frames(frames_of(range), map.largest()),
            None => Ok(()),
        }
    }

    fn prepare_unmap(&self, range: PhysRange) -> Result<(), Errno> {
        match self.0.upgrade() {
            Some(map) => map.cut_out(frames_of(range)),
            None => Ok(()),
        }
    }

    fn unmap(&self, range: PhysRange) {
        if let Some(map) = self.0.upgrade() {
            map.unmap_frames(frames_of(range));
        }
    }

    fn map_records(&self, frames: PfnRange, records: PfnRange) -> Result<(), Errno> {
        match self.0.upgrade() {
            Some(map) => map.show_records(frames, records),
            None => Ok(()),
        }
    }

    fn unmap_records(&self, frames: PfnRange) {
        if let Some(map) = self.0.upgrade() {
            map.hide_records(frames);
        }
    }
}
