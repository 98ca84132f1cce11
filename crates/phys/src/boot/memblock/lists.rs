//! RAM and what of it is taken.

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PhysAddr, PhysRange};

use super::array::RamArray;
use super::region::{Attributes, Region};
use super::regions::Regions;
use super::request::BootRequest;
use crate::boot::kind::RegionKind;
use crate::boot::map::{MemoryMap, NodeId};
use crate::boot::options::BootError;

/// A list of regions is full and cannot grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRegions;

/// Why memblock gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// No free range is large enough inside the limits.
    NoRoom,
    /// A list of regions is full and cannot grow.
    TooManyRegions,
}

impl From<TooManyRegions> for MemblockError {
    fn from(TooManyRegions: TooManyRegions) -> Self {
        MemblockError::TooManyRegions
    }
}

/// Which of the two lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Memory,
    Reserved,
}

/// RAM and what of it is taken, as two sorted lists of ranges.
///
/// Both lists start inside the value. When one is full it moves to memory of
/// twice the size that memblock takes from itself, if
/// [`allow_growth`](Memblock::allow_growth) was called; else the change is
/// refused and nothing has changed.
///
/// Handed over to the zones at the end of boot, by value: what is not reserved
/// then becomes free frames, the memory of the lists included, and nothing can
/// ask memblock again.
///
/// # Linux source concept
/// `struct memblock`, mm/memblock.c.
#[derive(Debug)]
pub struct Memblock<P> {
    memory: Regions,
    reserved: Regions,
    limit: PhysAddr,
    avoid_hotpluggable: bool,
    growth: Option<P>,
}

impl<P> Default for Memblock<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Memblock<P> {
    /// Without any RAM.
    pub const fn new() -> Self {
        Self {
            memory: Regions::new(),
            reserved: Regions::new(),
            limit: PhysAddr::new(u64::MAX),
            avoid_hotpluggable: false,
            growth: None,
        }
    }

    /// The regions of RAM, ascending.
    pub fn memory(&self) -> &[Region] {
        self.memory.as_slice()
    }

    /// The taken ranges, ascending.
    pub fn reserved(&self) -> impl DoubleEndedIterator<Item = PhysRange> {
        self.reserved.as_slice().iter().map(|region| region.range)
    }

    pub(super) fn reserved_regions(&self) -> &[Region] {
        self.reserved.as_slice()
    }

    /// Bytes of RAM.
    pub fn total(&self) -> u64 {
        self.memory().iter().map(|region| region.range.len()).sum()
    }

    /// Bytes that are taken, RAM or not.
    pub fn total_reserved(&self) -> u64 {
        self.reserved().map(PhysRange::len).sum()
    }

    /// The first byte past RAM.
    pub fn end(&self) -> PhysAddr {
        self.memory()
            .last()
            .map_or(PhysAddr::ZERO, |region| region.range.end)
    }

    /// Whether all of `range` is RAM.
    pub fn is_memory(&self, range: PhysRange) -> bool {
        let mut at = range.start;
        for region in self.memory() {
            if region.range.contains(at) {
                at = region.range.end;
            }
        }
        at >= range.end
    }

    /// Whether anything in `range` is taken.
    pub fn is_reserved(&self, range: PhysRange) -> bool {
        self.reserved().any(|taken| taken.overlaps(range))
    }

    /// Nothing at or above `limit` is given out from now on: what is not mapped
    /// yet cannot be used.
    pub fn set_limit(&mut self, limit: PhysAddr) {
        self.limit = limit;
    }

    /// See [`set_limit`](Memblock::set_limit).
    pub fn limit(&self) -> PhysAddr {
        self.limit
    }

    /// Nothing is given out from now on that may be unplugged (`movable_node`).
    pub fn avoid_hotpluggable(&mut self) {
        self.avoid_hotpluggable = true;
    }

    pub(super) fn avoids_hotpluggable(&self) -> bool {
        self.avoid_hotpluggable
    }

    /// Whether both lists are in order, and the memory of the lists is taken.
    pub fn audit(&self) -> bool {
        let kept = [self.memory.memory(), self.reserved.memory()];
        self.memory.is_sound()
            && self.reserved.is_sound()
            && kept
                .into_iter()
                .flatten()
                .all(|range| self.reserved().any(|taken| taken.covers(range)))
    }

    fn list(&mut self, which: Which) -> &mut Regions {
        match which {
            Which::Memory => &mut self.memory,
            Which::Reserved => &mut self.reserved,
        }
    }
}

impl<P: Platform> Memblock<P> {
    /// With the usable RAM of a map.
    ///
    /// # Errors
    /// [`BootError::MapTooRagged`] if the map has more pieces than fit,
    /// [`BootError::NotThisRam`] if the machine does not have all of them.
    pub fn from_map<const N: usize>(platform: &P, map: &MemoryMap<N>) -> Result<Self, BootError> {
        let mut memblock = Self::new();
        memblock.allow_growth(platform.clone());
        for entry in map.pieces() {
            if entry.kind == RegionKind::Usable {
                if !platform.has_ram(entry.range) {
                    return Err(BootError::NotThisRam);
                }
                memblock.add(Region::ram(entry.range, entry.node))?;
            }
        }
        Ok(memblock)
    }

    /// From now on full lists move into RAM of `platform`, which all memory
    /// that was added and will be must be.
    ///
    /// # Linux source concept
    /// `memblock_allow_resize()`.
    pub fn allow_growth(&mut self, platform: P) {
        self.growth = Some(platform);
    }

    /// Adds RAM. What of it is there already keeps its node and attributes.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    ///
    /// # Linux source concept
    /// `memblock_add_range()`.
    pub fn add(&mut self, region: Region) -> Result<(), TooManyRegions> {
        self.make_room(Which::Memory, self.memory.gaps(region.range), region.range)?;
        self.memory.fill(region);
        Ok(())
    }

    /// Takes RAM out of the machine.
    ///
    /// # Errors
    /// [`TooManyRegions`] when a hole splits a region.
    pub fn remove(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.make_room(Which::Memory, 1, range)?;
        self.memory.cut(range);
        Ok(())
    }

    /// Takes RAM from the top until `bytes` are left (`mem=`).
    ///
    /// # Linux source concept
    /// `memblock_enforce_memory_limit()`.
    pub fn keep(&mut self, bytes: u64) {
        let mut left = bytes;
        let edge = self.memory().iter().find_map(|region| {
            let len = region.range.len();
            if left < len {
                return Some(region.range.start + left);
            }
            left -= len;
            None
        });
        if let Some(edge) = edge {
            // Cutting off the end of a list needs no room.
            let rest = PhysRange::new(edge, PhysAddr::new(u64::MAX));
            self.memory.cut(rest);
            self.reserved.cut(rest);
        }
    }

    /// Marks a range as taken, whether or not there is RAM; may overlap others.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn reserve(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.make_room(Which::Reserved, self.reserved.gaps(range), range)?;
        self.reserved.fill(Region::ram(range, NodeId(0)));
        Ok(())
    }

    /// Gives back a range that was reserved or allocated.
    ///
    /// # Errors
    /// [`TooManyRegions`] when the hole splits a reservation.
    pub fn free(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.make_room(Which::Reserved, 1, range)?;
        self.reserved.cut(range);
        Ok(())
    }

    /// Sets attributes of the RAM in `range`.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    ///
    /// # Linux source concept
    /// `memblock_mark_hotplug()` and its relatives.
    pub fn mark(&mut self, range: PhysRange, attributes: Attributes) -> Result<(), TooManyRegions> {
        self.make_room(Which::Memory, 2, range)?;
        self.memory
            .change(range, |region| region.attributes.insert(attributes));
        Ok(())
    }

    /// Clears attributes of the RAM in `range`.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn unmark(&mut self, range: PhysRange, attributes: Attributes) -> Result<(), TooManyRegions> {
        self.make_room(Which::Memory, 2, range)?;
        self.memory
            .change(range, |region| region.attributes.remove(attributes));
        Ok(())
    }

    /// Gives the RAM in `range` to a node.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn set_node(&mut self, range: PhysRange, node: NodeId) -> Result<(), TooManyRegions> {
        self.make_room(Which::Memory, 2, range)?;
        self.memory.change(range, |region| region.node = node);
        Ok(())
    }

    /// Finds a free range and reserves it. Its content is undefined.
    ///
    /// # Errors
    /// [`MemblockError::NoRoom`], [`MemblockError::TooManyRegions`].
    pub fn alloc(&mut self, request: BootRequest) -> Result<PhysRange, MemblockError> {
        // Growing takes memory too, so it comes before the search.
        let nothing = PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO);
        self.make_room(Which::Reserved, 2, nothing)?;
        let range = self.find(request).ok_or(MemblockError::NoRoom)?;
        self.reserve(range)?;
        Ok(range)
    }

    /// Gives back the memory of the lists, so that the lists can be read to the
    /// end and then [retired](Memblock::retire); memblock can change no more.
    pub(crate) fn release_lists(&mut self) {
        let nothing = PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO);
        if self.make_room(Which::Reserved, 2, nothing).is_err() {
            // Frames that stay reserved are lost, not wrong.
            return;
        }
        let kept = [self.memory.memory(), self.reserved.memory()];
        for range in kept.into_iter().flatten() {
            self.reserved.cut(range);
        }
    }

    /// The end: clears the memory of the lists.
    pub(crate) fn retire(self) {
        self.memory.retire();
        self.reserved.retire();
    }

    /// Makes sure that a list has room for `new` regions; `keep_off` is about
    /// to change and no place for a list.
    fn make_room(&mut self, which: Which, new: usize, keep_off: PhysRange) -> Result<(), TooManyRegions> {
        while self.list(which).spare() < new {
            if which == Which::Memory {
                // For the reservation of the new list and the hole of the old one.
                self.make_room(Which::Reserved, 3, keep_off)?;
            }
            self.grow(which, keep_off)?;
        }
        Ok(())
    }

    fn grow(&mut self, which: Which, keep_off: PhysRange) -> Result<(), TooManyRegions> {
        let platform = self.growth.clone().ok_or(TooManyRegions)?;
        let capacity = self.list(which).capacity() * 2;
        let bytes = RamArray::bytes(capacity).next_multiple_of(PAGE_SIZE as u64);
        let request = BootRequest::new(bytes, PAGE_SIZE as u64);
        let above = PhysRange::new(keep_off.end, request.within.end);
        let below = PhysRange::new(PhysAddr::ZERO, keep_off.start);
        let range = self
            .find(request.inside(above))
            .or_else(|| self.find(request.inside(below)))
            .ok_or(TooManyRegions)?;
        // SAFETY:
        // 1. `find` gives free memory, all of which is RAM of the platform
        //    (`allow_growth`), aligned as asked.
        // 2. It is reserved below, before anybody can ask again, until the
        //    array is given up.
        // 3. `self` keeps a clone of the platform.
        let array = unsafe { RamArray::new(&platform, range) };
        let old = self.list(which).move_to(array);
        self.reserved.fill(Region::ram(range, NodeId(0)));
        if let Some(old) = old {
            let freed = old.range();
            old.wipe();
            self.reserved.cut(freed);
        }
        Ok(())
    }
}
