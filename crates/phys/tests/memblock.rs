//! Memblock against a naive model: one cell for each unit of memory.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_phys::boot::{
    Attributes, BootRequest, Direction, MapEntry, Memblock, MemblockError, NodeWish, Region, RegionKind,
    TooManyRegions,
};
use foliant_phys::{BootOptions, MemoryMap, NodeId, Phys, testing};
use foliant_platform::testing::TestPlatform;
use foliant_units::{PhysAddr, PhysRange};

type Boot = Memblock<TestPlatform>;

const PAGE: u64 = 4096;

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

fn pages(start: u64, end: u64) -> PhysRange {
    range(start * PAGE, end * PAGE)
}

fn with_ram(ranges: &[(u64, u64)]) -> Boot {
    let mut memblock = Memblock::new();
    for &(start, end) in ranges {
        memblock.add(Region::ram(range(start, end), NodeId(0))).unwrap();
    }
    memblock
}

/// One letter a unit: `.` no RAM, `f` free, `R` reserved RAM, `r` reserved hole.
fn draw(memblock: &Boot, units: u64) -> String {
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
    memblock.add(Region::ram(range(2, 4), NodeId(0))).unwrap();
    assert_eq!(memblock.memory().len(), 1);
    assert_eq!(draw(&memblock, 8), "ffffff..");
}

/// What `memblock_add_range()` does: overlaps do not change what is there.
#[test]
fn ram_that_is_there_keeps_its_node_and_attributes() {
    let mut memblock = with_ram(&[(2, 4), (6, 8)]);
    memblock.mark(range(6, 8), Attributes::HOTPLUG).unwrap();
    memblock.add(Region::ram(range(0, 10), NodeId(1))).unwrap();
    let nodes: Vec<_> = memblock
        .memory()
        .iter()
        .map(|region| (region.range.start.raw(), region.node.0, region.attributes.bits()))
        .collect();
    assert_eq!(nodes, [(0, 1, 0), (2, 0, 0), (4, 1, 0), (6, 0, 1), (8, 1, 0)]);
    memblock.add(Region::ram(range(1, 9), NodeId(2))).unwrap();
    assert_eq!(memblock.memory().len(), 5, "nothing was left to add");
    memblock.set_node(range(0, 10), NodeId(0)).unwrap();
    memblock.unmark(range(0, 10), Attributes::all()).unwrap();
    assert_eq!((memblock.memory().len(), memblock.total()), (1, 10));
}

#[test]
fn a_region_over_a_full_list_fills_every_gap_or_none() {
    let mut memblock = Boot::new();
    for at in 0..100 {
        memblock
            .add(Region::ram(range(at * 4, at * 4 + 1), NodeId(0)))
            .unwrap();
    }
    let whole = Region::ram(range(0, 400), NodeId(1));
    assert_eq!(memblock.add(whole), Err(TooManyRegions));
    assert_eq!((memblock.memory().len(), memblock.total()), (100, 100));
    let platform = TestPlatform::<true>::new(1 << 20, 1);
    memblock.allow_growth(platform);
    memblock
        .add(Region::ram(range(4096, 1 << 20), NodeId(0)))
        .unwrap();
    memblock.add(whole).unwrap();
    assert_eq!(
        (memblock.memory().len(), memblock.total()),
        (201, 400 + (1 << 20) - 4096)
    );
    assert!(memblock.audit());
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
    let request = BootRequest::new(0x1000, 0x1000);
    assert_eq!(memblock.alloc(request), Ok(range(0x8000, 0x9000)));
    assert_eq!(memblock.alloc(request.bottom_up()), Ok(range(0x2000, 0x3000)));
    let low = request.inside(range(0, 0x3000));
    assert_eq!(memblock.alloc(low), Err(MemblockError::NoRoom));
    memblock.set_limit(PhysAddr::new(0x7000));
    assert_eq!(memblock.alloc(request), Ok(range(0x6000, 0x7000)));
}

#[test]
fn the_first_page_is_never_given_out() {
    let mut memblock = with_ram(&[(0, 0x2000)]);
    let request = BootRequest::new(0x1000, 0x1000).bottom_up();
    assert_eq!(memblock.alloc(request), Ok(range(0x1000, 0x2000)));
    assert_eq!(memblock.alloc(request), Err(MemblockError::NoRoom));
}

#[test]
fn nodes_and_mirrors_are_preferences_unless_exact() {
    let mut memblock = with_ram(&[(0, 0x4000)]);
    let other = Region {
        attributes: Attributes::MIRROR,
        ..Region::ram(range(0x4000, 0x5000), NodeId(1))
    };
    memblock.add(other).unwrap();
    let mut request = BootRequest::new(0x1000, 0x1000).bottom_up();
    request.mirrored = true;
    assert_eq!(memblock.alloc(request), Ok(range(0x4000, 0x5000)));
    assert_eq!(memblock.alloc(request), Ok(range(0x1000, 0x2000)));
    request.node = NodeWish::Prefer(NodeId(1));
    assert_eq!(memblock.alloc(request), Ok(range(0x2000, 0x3000)));
    request.node = NodeWish::Exactly(NodeId(1));
    assert_eq!(memblock.alloc(request), Err(MemblockError::NoRoom));
}

#[test]
fn what_must_not_be_mapped_or_may_be_unplugged_is_spared() {
    let mut memblock = with_ram(&[(0, 0x8000)]);
    memblock.mark(range(0x6000, 0x8000), Attributes::NOMAP).unwrap();
    memblock.mark(range(0x4000, 0x6000), Attributes::HOTPLUG).unwrap();
    assert_eq!(memblock.memory().len(), 3);
    let request = BootRequest::new(0x1000, 0x1000);
    assert_eq!(memblock.find(request), Some(range(0x5000, 0x6000)));
    memblock.avoid_hotpluggable();
    assert_eq!(memblock.find(request), Some(range(0x3000, 0x4000)));
    memblock.unmark(range(0, 0x8000), Attributes::all()).unwrap();
    assert_eq!(memblock.memory().len(), 1);
}

#[test]
fn a_full_list_that_may_not_grow_refuses_and_stays() {
    let mut memblock = with_ram(&[(0, 1 << 20)]);
    let mut taken = 0;
    while memblock.reserve(range(taken * 32, taken * 32 + 16)).is_ok() {
        taken += 1;
    }
    assert!(taken >= 127);
    assert_eq!(memblock.reserved().count() as u64, taken);
    assert_eq!(
        memblock.free(range(4, 8)).err().or(Some(TooManyRegions)),
        Some(TooManyRegions)
    );
    assert!(memblock.audit());
}

#[test]
fn full_lists_double_into_their_own_memory_which_comes_back() {
    const REGIONS: u64 = 3000;
    const FIRST: u64 = 100;
    let platform = TestPlatform::<true>::new(((FIRST + 2 * REGIONS) * PAGE) as usize, 1);
    let mut memblock = Memblock::new();
    memblock.allow_growth(platform);
    memblock.add(Region::ram(pages(0, FIRST), NodeId(0))).unwrap();
    for at in 1..=REGIONS {
        let start = FIRST + 2 * at;
        memblock
            .add(Region::ram(pages(start, start + 1), NodeId(0)))
            .unwrap();
        assert!(memblock.audit());
    }
    assert_eq!(memblock.memory().len() as u64, REGIONS + 1);
    // One list that is large enough is kept; the smaller ones before it came back.
    let kept = (REGIONS as usize * size_of::<Region>()) as u64;
    assert!((kept..2 * kept).contains(&memblock.total_reserved()));
    assert_eq!(memblock.reserved().count(), 1);
}

#[test]
fn thousands_of_reservations_become_zones_and_all_else_is_free() {
    const TAKEN: u64 = 4000;
    let bytes = 64u64 << 20;
    let platform = TestPlatform::<true>::new(bytes as usize, 1);
    let mut memblock = Memblock::from_map(&platform, &MemoryMap::ram(range(0, bytes))).unwrap();
    for at in 1..=TAKEN {
        memblock.reserve(pages(2 * at, 2 * at + 1)).unwrap();
    }
    assert!(memblock.audit());
    let phys = Phys::take_over(platform, memblock, BootOptions::test()).unwrap();
    let census = testing::audit(&phys);
    assert_eq!(census.allocated, 0);
    // The lists' memory came back: what is reserved is what was asked for, the
    // first frame and the allocator's own tables.
    let tables = census.reserved - TAKEN - 1;
    let plain = TestPlatform::<true>::new(bytes as usize, 1);
    let plain = Phys::boot(plain, &MemoryMap::ram(range(0, bytes)), BootOptions::test()).unwrap();
    assert_eq!(tables, testing::audit(&plain).reserved - 1);
}

/// One unit of memory as the model sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cell {
    ram: Option<(u8, u8)>,
    taken: bool,
}

const CELLS: usize = 96;

#[derive(Clone)]
struct Model([Cell; CELLS]);

impl Model {
    fn of(memblock: &Boot) -> Self {
        let mut cells = [Cell::default(); CELLS];
        for (at, cell) in cells.iter_mut().enumerate() {
            let at = PhysAddr::new(at as u64 * PAGE);
            let region = memblock.memory().iter().find(|region| region.range.contains(at));
            cell.ram = region.map(|region| (region.node.0, region.attributes.bits()));
            cell.taken = memblock.reserved().any(|range| range.contains(at));
        }
        Self(cells)
    }

    fn find(&self, request: BootRequest) -> Option<PhysRange> {
        let len = (request.size / PAGE) as usize;
        let step = (request.align / PAGE) as usize;
        let fits = |start: usize, pass: usize| {
            let cells = &self.0[start..start + len];
            let same = cells.iter().all(|cell| cell.ram == cells[0].ram);
            let (node, bits) = cells[0].ram.unwrap_or((0, 4));
            let node_fits = match request.node {
                NodeWish::Any => true,
                NodeWish::Prefer(wish) => wish.0 == node || pass >= 2,
                NodeWish::Exactly(wish) => wish.0 == node,
            };
            let mirror_fits = !request.mirrored || bits & 2 != 0 || pass % 2 == 1;
            let inside = request.within.covers(pages(start as u64, (start + len) as u64));
            same && bits & 4 == 0
                && node_fits
                && mirror_fits
                && inside
                && cells.iter().all(|cell| !cell.taken)
        };
        let starts = || (1..=CELLS - len).filter(|start| start % step == 0);
        let start = (0..4).find_map(|pass| match request.direction {
            Direction::BottomUp => starts().find(|&start| fits(start, pass)),
            Direction::TopDown => starts().rev().find(|&start| fits(start, pass)),
        })?;
        Some(pages(start as u64, (start + len) as u64))
    }
}

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % below
    }
}

#[test]
fn random_operations_agree_with_a_naive_model() {
    for seed in 0..40 {
        let mut random = random(seed);
        let (mut memblock, mut model) = (Boot::new(), Model([Cell::default(); CELLS]));
        for _ in 0..150 {
            let start = random(CELLS as u64 - 1);
            let end = start + 1 + random(CELLS as u64 - start - 1);
            let (what, cells) = (random(8), &mut model.0[start as usize..end as usize]);
            let (node, bits) = (random(2) as u8, [0, 2, 4, 1][random(4) as usize]);
            let attributes = Attributes::from_bits_truncate(bits);
            let each_ram = |cells: &mut [Cell], change: &dyn Fn(&mut (u8, u8))| {
                cells
                    .iter_mut()
                    .filter_map(|cell| cell.ram.as_mut())
                    .for_each(change);
            };
            match what {
                0 | 1 => {
                    let region = Region {
                        attributes,
                        ..Region::ram(pages(start, end), NodeId(node))
                    };
                    memblock.add(region).unwrap();
                    // What is there already stays what it is.
                    cells.iter_mut().for_each(|cell| {
                        cell.ram.get_or_insert((node, bits));
                    });
                }
                2 => {
                    memblock.remove(pages(start, end)).unwrap();
                    cells.iter_mut().for_each(|cell| cell.ram = None);
                }
                3 => {
                    memblock.reserve(pages(start, end)).unwrap();
                    cells.iter_mut().for_each(|cell| cell.taken = true);
                }
                4 => {
                    memblock.free(pages(start, end)).unwrap();
                    cells.iter_mut().for_each(|cell| cell.taken = false);
                }
                5 => {
                    memblock.mark(pages(start, end), attributes).unwrap();
                    each_ram(cells, &|ram| ram.1 |= bits);
                }
                6 => {
                    memblock.set_node(pages(start, end), NodeId(node)).unwrap();
                    each_ram(cells, &|ram| ram.0 = node);
                }
                _ => {
                    let mut request = BootRequest::new((1 + random(6)) * PAGE, PAGE << random(3));
                    request.within = pages(start, end);
                    request.mirrored = random(2) == 0;
                    request.node = match random(3) {
                        0 => NodeWish::Any,
                        1 => NodeWish::Prefer(NodeId(node)),
                        _ => NodeWish::Exactly(NodeId(node)),
                    };
                    if random(2) == 0 {
                        request = request.bottom_up();
                    }
                    let found = model.find(request);
                    assert_eq!(memblock.alloc(request).ok(), found, "seed {seed}: {request:?}");
                    if let Some(found) = found {
                        let first = (found.start.raw() / PAGE) as usize;
                        let last = (found.end.raw() / PAGE) as usize;
                        model.0[first..last].iter_mut().for_each(|cell| cell.taken = true);
                    }
                }
            }
            assert!(memblock.audit(), "seed {seed}");
            assert_eq!(Model::of(&memblock).0, model.0, "seed {seed}");
        }
    }
}

#[test]
fn a_map_of_4096_ragged_entries_boots() {
    const ENTRIES: usize = 4096;
    let mut map = Box::new(MemoryMap::<ENTRIES>::with_room());
    let mib = 1 << 20;
    for at in 0..ENTRIES as u64 {
        // A MiB of RAM, most with a hole of some bytes at the end.
        let size = if at == 0 { 256 * mib } else { mib - (at % 7) * 100 };
        let entry = MapEntry::sized(
            PhysAddr::new((at * 2654435761 % 4096) * mib),
            size,
            RegionKind::Usable,
        );
        map.add(entry.unwrap()).unwrap();
    }
    assert!(map.add(map.entries()[0]).is_err());
    let platform = TestPlatform::<true>::new(4096 << 20, 1);
    let phys = Phys::boot(platform, &map, BootOptions::test()).unwrap();
    let stats = phys.stats();
    assert!(stats.free > 4096 * 240, "{stats:?}");
}
