//! The allocator before there is an allocator.

use foliant_units::{PhysAddr, PhysRange};

use super::map::{MemoryMap, NodeId, RegionKind};

/// How many regions each of the two lists holds.
const REGIONS: usize = 256;

/// A list of regions is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRegions;

/// Why memblock gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// No free range is large enough inside the limits.
    NoRoom,
    /// A list of regions is full.
    TooManyRegions,
}

impl From<TooManyRegions> for MemblockError {
    fn from(TooManyRegions: TooManyRegions) -> Self {
        MemblockError::TooManyRegions
    }
}

/// A range of RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// The bytes.
    pub range: PhysRange,
    /// The node they belong to.
    pub node: NodeId,
    /// Whether the hardware keeps a second copy.
    pub mirrored: bool,
}

/// From which end a range is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// The highest that fits: keeps low memory for devices.
    #[default]
    TopDown,
    /// The lowest that fits.
    BottomUp,
}

/// What to take.
#[derive(Clone, Copy, Debug)]
pub struct BootRequest {
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
    /// Only addresses inside.
    pub within: PhysRange,
    /// From which end.
    pub direction: Direction,
    /// This node first; any other when it has no room.
    pub node: Option<NodeId>,
    /// Mirrored memory first; any other when there is none.
    pub mirrored: bool,
}

impl BootRequest {
    /// `size` bytes aligned to `align`, anywhere, from the top.
    pub const fn new(size: u64, align: u64) -> Self {
        let within = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(u64::MAX));
        Self {
            size,
            align,
            within,
            direction: Direction::TopDown,
            node: None,
            mirrored: false,
        }
    }
}

/// RAM and what of it is taken, as two sorted lists of ranges.
///
/// Handed over to the zones at the end of boot, by value: what is not reserved
/// then becomes free frames, and nothing can ask memblock again.
///
/// # Linux source concept
/// `struct memblock`, mm/memblock.c. Differs: the lists do not grow, and
/// `NOMAP` and `HOTPLUG` regions are not here yet.
#[derive(Clone, Debug)]
pub struct Memblock {
    memory: Regions,
    reserved: Regions,
}

impl Default for Memblock {
    fn default() -> Self {
        Self::new()
    }
}

impl Memblock {
    /// Without any RAM.
    pub const fn new() -> Self {
        Self {
            memory: Regions::new(),
            reserved: Regions::new(),
        }
    }

    /// With the usable RAM of a sanitised map.
    ///
    /// # Errors
    /// [`TooManyRegions`] if the map has more pieces than fit.
    pub fn from_map(map: &MemoryMap) -> Result<Self, TooManyRegions> {
        let mut memblock = Self::new();
        for entry in map.entries() {
            if entry.kind == RegionKind::Usable {
                memblock.add(Region {
                    range: entry.range,
                    node: entry.node,
                    mirrored: false,
                })?;
            }
        }
        Ok(memblock)
    }

    /// Adds RAM. Where it overlaps RAM that is there already, the new node and
    /// mirror attribute win.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn add(&mut self, region: Region) -> Result<(), TooManyRegions> {
        self.memory.insert(region)
    }

    /// Takes RAM out of the machine.
    ///
    /// # Errors
    /// [`TooManyRegions`] when a hole splits a region.
    pub fn remove(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.memory.cut(range)
    }

    /// Marks a range as taken, whether or not there is RAM; may overlap others.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn reserve(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.reserved.insert(Region {
            range,
            node: NodeId(0),
            mirrored: false,
        })
    }

    /// Gives back a range that was reserved or allocated.
    ///
    /// # Errors
    /// [`TooManyRegions`] when the hole splits a reservation.
    pub fn free(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        self.reserved.cut(range)
    }

    /// Finds a free range and reserves it. Its content is undefined.
    ///
    /// # Errors
    /// [`MemblockError::NoRoom`], [`MemblockError::TooManyRegions`].
    pub fn alloc(&mut self, request: BootRequest) -> Result<PhysRange, MemblockError> {
        let range = self.find(request).ok_or(MemblockError::NoRoom)?;
        self.reserve(range)?;
        Ok(range)
    }

    /// The regions of RAM, ascending.
    pub fn memory(&self) -> &[Region] {
        self.memory.as_slice()
    }

    /// The taken ranges, ascending.
    pub fn reserved(&self) -> impl DoubleEndedIterator<Item = PhysRange> {
        self.reserved.as_slice().iter().map(|region| region.range)
    }

    /// RAM that nobody took, ascending.
    pub fn free_ranges(&self) -> impl Iterator<Item = Region> {
        self.memory().iter().flat_map(move |&region| {
            let mut at = region.range.start;
            let mut taken = self.reserved().filter(move |range| range.overlaps(region.range));
            core::iter::from_fn(move || {
                if at >= region.range.end {
                    return None;
                }
                let (gap_end, next) = match taken.next() {
                    Some(range) => (range.start, range.end),
                    None => (region.range.end, region.range.end),
                };
                let gap = PhysRange::new(at, gap_end);
                at = at.max(next);
                Some(Region { range: gap, ..region })
            })
            .filter(|gap| !gap.range.is_empty())
        })
    }

    /// Bytes of RAM.
    pub fn total(&self) -> u64 {
        self.memory().iter().map(|region| region.range.len()).sum()
    }

    /// The first byte past RAM.
    pub fn end(&self) -> PhysAddr {
        self.memory()
            .last()
            .map_or(PhysAddr::ZERO, |region| region.range.end)
    }

    fn find(&self, request: BootRequest) -> Option<PhysRange> {
        let strict = |region: &Region| {
            request.node.is_none_or(|node| node == region.node) && (!request.mirrored || region.mirrored)
        };
        self.find_where(request, strict)
            .or_else(|| self.find_where(request, |_| true))
    }

    fn find_where(&self, request: BootRequest, allowed: impl Fn(&Region) -> bool) -> Option<PhysRange> {
        let mut fits = self
            .free_ranges()
            .filter(allowed)
            .filter_map(|region| place(region.range.intersect(request.within), request));
        match request.direction {
            Direction::BottomUp => fits.next(),
            Direction::TopDown => fits.last(),
        }
    }
}

/// Where in `gap` the request goes.
fn place(gap: PhysRange, request: BootRequest) -> Option<PhysRange> {
    let start = match request.direction {
        Direction::BottomUp => gap.start.align_up(request.align)?,
        Direction::TopDown => gap.end.checked_sub(request.size)?.align_down(request.align),
    };
    let range = PhysRange::sized(start, request.size)?;
    (gap.covers(range) && !range.is_empty()).then_some(range)
}

/// Sorted regions that do not overlap; neighbours that agree are one.
#[derive(Clone, Debug)]
struct Regions {
    list: [Region; REGIONS],
    len: usize,
}

impl Regions {
    const fn new() -> Self {
        let empty = PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO);
        Self {
            list: [Region {
                range: empty,
                node: NodeId(0),
                mirrored: false,
            }; REGIONS],
            len: 0,
        }
    }

    fn as_slice(&self) -> &[Region] {
        &self.list[..self.len]
    }

    fn insert(&mut self, region: Region) -> Result<(), TooManyRegions> {
        if region.range.is_empty() {
            return Ok(());
        }
        self.cut(region.range)?;
        let at = self
            .as_slice()
            .partition_point(|other| other.range.start < region.range.start);
        self.open(at)?;
        self.list[at] = region;
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
        Ok(())
    }

    /// Removes `range` from every region.
    fn cut(&mut self, range: PhysRange) -> Result<(), TooManyRegions> {
        let mut at = 0;
        while at < self.len {
            let region = self.list[at];
            if !region.range.overlaps(range) {
                at += 1;
                continue;
            }
            let below = PhysRange::new(region.range.start, range.start.min(region.range.end));
            let above = PhysRange::new(range.end.max(region.range.start), region.range.end);
            match (region.range.start < range.start, range.end < region.range.end) {
                (false, false) => self.close(at),
                (true, false) => self.list[at].range = below,
                (false, true) => self.list[at].range = above,
                (true, true) => {
                    self.open(at + 1)?;
                    self.list[at].range = below;
                    self.list[at + 1] = Region {
                        range: above,
                        ..region
                    };
                }
            }
        }
        Ok(())
    }

    /// Joins the region at `at` with the next if they touch and agree.
    fn join(&mut self, at: usize) {
        if at + 1 >= self.len {
            return;
        }
        let (this, next) = (self.list[at], self.list[at + 1]);
        if this.range.end == next.range.start && (this.node, this.mirrored) == (next.node, next.mirrored) {
            self.list[at].range.end = next.range.end;
            self.close(at + 1);
        }
    }

    fn open(&mut self, at: usize) -> Result<(), TooManyRegions> {
        if self.len == REGIONS {
            return Err(TooManyRegions);
        }
        self.list.copy_within(at..self.len, at + 1);
        self.len += 1;
        Ok(())
    }

    fn close(&mut self, at: usize) {
        self.list.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std_alloc::string::String;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
    }

    fn with_ram(ranges: &[(u64, u64)]) -> Memblock {
        let mut memblock = Memblock::new();
        for &(start, end) in ranges {
            memblock
                .add(Region {
                    range: range(start, end),
                    node: NodeId(0),
                    mirrored: false,
                })
                .unwrap();
        }
        memblock
    }

    /// One letter a unit: `.` no RAM, `f` free, `R` reserved RAM, `r` reserved hole.
    fn draw(memblock: &Memblock, units: u64) -> String {
        (0..units)
            .map(|unit| {
                let at = PhysAddr::new(unit);
                let ram = memblock.memory().iter().any(|region| region.range.contains(at));
                let taken = memblock.reserved().any(|range| range.contains(at));
                match (ram, taken) {
                    (true, false) => 'f',
                    (true, true) => 'R',
                    (false, true) => 'r',
                    (false, false) => '.',
                }
            })
            .collect()
    }

    #[test]
    fn filling_the_hole_joins_both_neighbours() {
        let mut memblock = with_ram(&[(0, 2), (4, 6)]);
        assert_eq!(memblock.memory().len(), 2);
        memblock
            .add(Region {
                range: range(2, 4),
                node: NodeId(0),
                mirrored: false,
            })
            .unwrap();
        assert_eq!(memblock.memory().len(), 1);
        assert_eq!(draw(&memblock, 8), "ffffff..");
    }

    #[test]
    fn reservations_may_overlap_and_cover_holes() {
        let mut memblock = with_ram(&[(0, 4), (6, 10)]);
        memblock.reserve(range(2, 5)).unwrap();
        memblock.reserve(range(4, 7)).unwrap();
        assert_eq!(draw(&memblock, 10), "ffRRrrRfff");
        memblock.free(range(3, 5)).unwrap();
        assert_eq!(draw(&memblock, 10), "ffRf.rRfff");
    }

    #[test]
    fn both_directions_honour_alignment_and_limits() {
        let mut memblock = with_ram(&[(0x1800, 0x9800)]);
        let mut request = BootRequest::new(0x1000, 0x1000);
        assert_eq!(memblock.alloc(request), Ok(range(0x8000, 0x9000)));
        request.direction = Direction::BottomUp;
        assert_eq!(memblock.alloc(request), Ok(range(0x2000, 0x3000)));
        request.within = range(0, 0x3000);
        assert_eq!(memblock.alloc(request), Err(MemblockError::NoRoom));
    }

    #[test]
    fn a_node_and_mirrored_memory_are_preferences() {
        let mut memblock = with_ram(&[(0, 0x4000)]);
        memblock
            .add(Region {
                range: range(0x4000, 0x5000),
                node: NodeId(1),
                mirrored: true,
            })
            .unwrap();
        let mut request = BootRequest::new(0x1000, 0x1000);
        request.node = Some(NodeId(1));
        assert_eq!(memblock.alloc(request), Ok(range(0x4000, 0x5000)));
        assert_eq!(memblock.alloc(request), Ok(range(0x3000, 0x4000)));
    }

    #[test]
    fn random_operations_agree_with_a_bitmap() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let (mut memblock, mut ram, mut taken) = (Memblock::new(), [false; 64], [false; 64]);
        for _ in 0..2000 {
            let start = random(64);
            let end = start + random(65 - start);
            let (what, cells) = (random(4), start as usize..end as usize);
            match what {
                0 => {
                    memblock
                        .add(Region {
                            range: range(start, end),
                            node: NodeId(0),
                            mirrored: false,
                        })
                        .unwrap();
                    ram[cells].fill(true);
                }
                1 => {
                    memblock.remove(range(start, end)).unwrap();
                    ram[cells].fill(false);
                }
                2 => {
                    memblock.reserve(range(start, end)).unwrap();
                    taken[cells].fill(true);
                }
                _ => {
                    memblock.free(range(start, end)).unwrap();
                    taken[cells].fill(false);
                }
            }
            let model: String = ram
                .iter()
                .zip(&taken)
                .map(|cell| match cell {
                    (true, false) => 'f',
                    (true, true) => 'R',
                    (false, true) => 'r',
                    (false, false) => '.',
                })
                .collect();
            assert_eq!(draw(&memblock, 64), model);
            let free: u64 = memblock.free_ranges().map(|region| region.range.len()).sum();
            assert_eq!(free, model.matches('f').count() as u64);
        }
    }
}
