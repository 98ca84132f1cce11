//! Regions and lists of them.

use foliant_units::{VirtAddr, VirtRange};

/// How many regions a layout has at most.
pub const MAX_REGIONS: usize = 32;

/// What is behind a region's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A program's memory.
    User,
    /// Nothing, ever: touching it is a fault.
    Guard,
    /// Nothing now: between regions, or not canonical.
    Hole,
    /// Physical memory, at a fixed distance.
    Linear,
    /// What is mapped there when it is asked for.
    Dynamic,
    /// There only while a space of its own is loaded.
    Switched,
}

/// A named part of the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its name, short and fit for a command line.
    pub name: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// First byte.
    pub start: VirtAddr,
    /// Last byte.
    pub last: VirtAddr,
    /// What is behind it.
    pub source: Source,
}

impl Region {
    /// From `start` to `last`, both inside.
    pub const fn new(name: &'static str, about: &'static str, start: u64, last: u64, source: Source) -> Self {
        Self {
            name,
            about,
            start: VirtAddr::new(start),
            last: VirtAddr::new(last),
            source,
        }
    }

    /// Whether `at` is inside.
    pub const fn contains(&self, at: VirtAddr) -> bool {
        self.start.raw() <= at.raw() && at.raw() <= self.last.raw()
    }

    /// Bytes, less one, because a region may be all of an address space.
    pub const fn last_offset(&self) -> u64 {
        self.last.raw() - self.start.raw()
    }
}

/// A layout: regions in ascending order that do not overlap and, holes
/// included, leave no address out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    regions: [Region; MAX_REGIONS],
    len: usize,
    /// What user space may map.
    pub user: VirtRange,
    /// Bits of an address.
    pub bits: u32,
}

impl Layout {
    /// An empty layout.
    pub(super) const fn new(user_end: u64, bits: u32) -> Self {
        let nothing = Region::new("", "", 0, 0, Source::Hole);
        Self {
            regions: [nothing; MAX_REGIONS],
            len: 0,
            user: VirtRange::new(VirtAddr::ZERO, VirtAddr::new(user_end)),
            bits,
        }
    }

    /// Adds a region above all others, and a hole between if it does not follow them.
    pub(super) fn push(&mut self, region: Region) {
        let next = match self.regions().last() {
            Some(last) => last.last.raw().wrapping_add(1),
            None => 0,
        };
        if next < region.start.raw() {
            let last = region.start.raw() - 1;
            self.append(Region::new("hole", "unused hole", next, last, Source::Hole));
        }
        self.append(region);
    }

    fn append(&mut self, region: Region) {
        // A constant's worth of regions; the tests count them.
        if let Some(slot) = self.regions.get_mut(self.len) {
            *slot = region;
            self.len += 1;
        }
    }

    /// The regions, holes included.
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.len]
    }

    /// The region that holds `at`; `None` above the last.
    pub fn region(&self, at: VirtAddr) -> Option<&Region> {
        self.regions().iter().find(|region| region.contains(at))
    }

    /// The region of this name.
    pub fn named(&self, name: &str) -> Option<&Region> {
        self.regions().iter().find(|region| region.name == name)
    }

    /// Whether the regions ascend, do not overlap and leave nothing out below the last.
    pub fn is_sound(&self) -> bool {
        let follow = |pair: &[Region]| pair[0].last.raw().checked_add(1) == Some(pair[1].start.raw());
        self.regions().iter().all(|region| region.start <= region.last)
            && self.regions().windows(2).all(follow)
            && self
                .regions()
                .first()
                .is_some_and(|first| first.start == VirtAddr::ZERO)
    }
}
