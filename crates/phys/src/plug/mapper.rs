//! Who shows memory in a kernel's own addresses.

use std_alloc::sync::Arc;

use foliant_platform::Platform;
use foliant_units::{Errno, PfnRange, PhysRange};

use crate::phys::Phys;
use crate::sections::{Part, frames_of};

/// Someone who shows RAM, and perhaps the records of its frames, in the
/// kernel's own addresses. Only what was mapped with a call is unmapped with
/// another, but any part of it may be, and of the memory of boot, too.
///
/// # Locking
/// One change of memory at a time calls these. No lock of the allocator is
/// held, so frames may be asked for.
///
/// # Linux source concept
/// `arch_add_memory()` and `arch_remove_memory()`: `init_memory_mapping()` and
/// `kernel_physical_mapping_remove()`, `vmemmap_populate()` and `vmemmap_free()`.
pub trait MapMemory: Send + Sync {
    /// Maps memory that is about to be added.
    ///
    /// # Errors
    /// Why not; nothing is mapped then.
    fn map(&self, range: PhysRange) -> Result<(), Errno>;

    /// Prepares for [`unmap`](Self::unmap) with this range, for which nothing is
    /// left to allocate then: large pages that reach beyond it become smaller.
    ///
    /// # Errors
    /// Why not; everything is mapped as it was, if perhaps with smaller pages.
    fn prepare_unmap(&self, range: PhysRange) -> Result<(), Errno>;

    /// Takes away the map of memory that was removed, whose translations
    /// nobody has cached when this returns.
    fn unmap(&self, range: PhysRange);

    /// Shows the records of `frames`, which lie in `records` from the first on.
    /// If the memory brings its records along, it is mapped already.
    ///
    /// # Errors
    /// Why not; nothing of it is shown then.
    fn map_records(&self, frames: PfnRange, records: PfnRange) -> Result<(), Errno>;

    /// Takes away what [`map_records`](Self::map_records) showed, before the
    /// memory of the records is given back.
    fn unmap_records(&self, frames: PfnRange);
}

impl<P: Platform> Phys<P> {
    /// Hands in someone who maps memory that comes; replaces whoever was there.
    /// What is there already is [theirs](Phys::ram_ranges) to map.
    pub fn set_memory_mapper(&self, mapper: Option<Arc<dyn MapMemory>>) {
        *self.mapper.lock() = mapper;
    }

    pub(crate) fn mapper(&self) -> Option<Arc<dyn MapMemory>> {
        self.mapper.lock().clone()
    }

    /// All RAM, online or not, ascending and apart, while none comes or goes.
    pub fn ram_ranges(&self) -> impl Iterator<Item = PfnRange> {
        self.sections.ranges()
    }

    /// The frames of each section that has records, and the frames in which
    /// these lie, from that of the section's first frame on; where a section of
    /// boot ends early, so do they.
    pub fn record_homes(&self) -> impl Iterator<Item = (PfnRange, PfnRange)> {
        let homes = (0..self.sections.len()).map(|section| {
            let home = self.sections.home(section, Part::Records);
            (frames_of(section), home)
        });
        homes.filter(|(_, home)| !home.is_empty())
    }
}
