//! The steps from memblock to the allocator.

use foliant_platform::Platform;
use foliant_platform::sync::SpinLock;
use foliant_units::{Order, PAGE_SIZE, Pfn, PfnRange, PhysAddr, PhysRange};

use super::map::{MAP_ENTRIES, MemoryMap};
use super::memblock::Memblock;
use super::options::{BootError, BootOptions};
use super::tables::{Carver, room};
use crate::alloc::{
    BLOCK, Blocks, Counters, CpuArea, Cpus, HintWord, Hints, Injector, Level, Line, Mobility, PFN_LIMIT,
    RingSet, Tag, block_of, map_of, place_of,
};
use crate::phys::Phys;
use crate::present::Present;
use crate::ram::Found;
use crate::record::{FrameFlags, FrameRecord, RecordPlan, Records};
use crate::zone::{MAX_NODES, ZoneKind, Zones, movable_start};

impl<P: Platform> Phys<P> {
    /// Boots from the firmware's map.
    ///
    /// # Errors
    /// [`BootError`] says what is wrong with the map or how it is too small.
    pub fn boot(platform: P, map: &MemoryMap, options: BootOptions) -> Result<Self, BootError> {
        let map = map.sanitised().map_err(|_| BootError::MapTooRagged)?;
        let memblock = Memblock::from_map(&map)?;
        Self::take_over(platform, memblock, options)
    }

    /// Takes over from memblock: what is not reserved there becomes free.
    ///
    /// # Errors
    /// As [`boot`](Phys::boot).
    ///
    /// # Linux source concept
    /// `free_area_init()` and `memblock_free_all()`.
    pub fn take_over(platform: P, mut memblock: Memblock, options: BootOptions) -> Result<Self, BootError> {
        let low = options.reserve_low.max(PAGE_SIZE as u64);
        memblock.reserve(PhysRange::new(PhysAddr::ZERO, PhysAddr::new(low)))?;
        let plan = Plan::new(&platform, &memblock, &options)?;
        let found = if options.ram_is_zeroed {
            Found::Zeroes
        } else {
            Found::Garbage
        };
        let limit = plan.movable.min(Pfn::new(PFN_LIMIT)).base();
        let mut carver = Carver::reserve(&platform, &mut memblock, plan.bytes(), limit, found)?;
        let tables = carver.frames();
        let sections = carver.table(plan.records.sections);
        let records = carver.table(plan.records.records);
        let records = Records::new(sections, records, present_of(&memblock));
        let blocks = Blocks {
            lines: carver.table(plan.blocks),
            used: carver.table(plan.blocks),
            tags: carver.table(plan.blocks),
            hints: Hints::new(carver.table(Hints::words(plan.blocks))),
            ram_was_zeroed: options.ram_is_zeroed,
        };
        let cpus = Cpus::new(
            carver.table(plan.cpus),
            carver.table(plan.cpus * plan.zones),
            plan.zones,
        );

        let zones = settle_zones(&plan, &memblock, &records, &blocks, &options);
        let joined = joined(present_of(&memblock)).map_err(|TooRagged| BootError::MapTooRagged)?;
        Ok(Self {
            records,
            blocks,
            cpus,
            zones,
            present: Present::new(joined.iter(), tables, plan.nodes),
            shared: Counters::default(),
            injector: Injector::default(),
            poisoning: options.poison,
            on_violation: options.on_violation,
            last_violation: SpinLock::new(None),
            reclaimer: SpinLock::new(None),
            platform,
        })
    }
}

/// How large everything will be.
struct Plan {
    records: RecordPlan,
    blocks: usize,
    cpus: usize,
    zones: usize,
    nodes: u8,
    movable: Pfn,
}

impl Plan {
    fn new(platform: &impl Platform, memblock: &Memblock, options: &BootOptions) -> Result<Self, BootError> {
        let end = present_of(memblock).last().ok_or(BootError::NoMemory)?.end;
        if end.raw() > PFN_LIMIT {
            return Err(BootError::TooHigh);
        }
        let nodes = memblock
            .memory()
            .iter()
            .map(|region| region.node.0)
            .max()
            .unwrap_or(0)
            + 1;
        if usize::from(nodes) > MAX_NODES {
            return Err(BootError::TooManyNodes);
        }
        let mut plan = Self {
            records: RecordPlan::new(present_of(memblock)),
            blocks: block_of(end + (BLOCK as u64 - 1)),
            cpus: platform.cpus() as usize,
            zones: 0,
            nodes,
            movable: movable_start(present_of(memblock), options.movable),
        };
        let mut zones = Zones::new();
        each_piece(&plan, memblock, |piece| {
            zones.obtain(piece.kind, piece.node);
        });
        plan.zones = zones.len();
        Ok(plan)
    }

    fn bytes(&self) -> u64 {
        room::<crate::record::SectionStart>(self.records.sections)
            + room::<FrameRecord>(self.records.records)
            + 2 * room::<Line>(self.blocks)
            + room::<Tag>(self.blocks)
            + room::<HintWord>(Hints::words(self.blocks))
            + room::<CpuArea>(self.cpus)
            + room::<RingSet>(self.cpus * self.zones)
    }
}

/// RAM of one block and one node.
struct Piece {
    kind: ZoneKind,
    node: super::map::NodeId,
    frames: PfnRange,
}

/// Cuts RAM at the borders of blocks. A block takes the node of its first piece.
fn each_piece(plan: &Plan, memblock: &Memblock, mut visit: impl FnMut(Piece)) {
    let mut last = (usize::MAX, super::map::NodeId(0));
    for region in memblock.memory() {
        each_block(region.range.whole_frames(), |frames| {
            let block = block_of(frames.start);
            if block != last.0 {
                last = (block, region.node);
            }
            visit(Piece {
                kind: ZoneKind::of(frames.start, plan.movable),
                node: last.1,
                frames,
            });
        });
    }
}

/// Cuts frames at the borders of blocks.
fn each_block(frames: PfnRange, mut visit: impl FnMut(PfnRange)) {
    let mut at = frames.start;
    while at < frames.end {
        let end = (at + 1).align_up(BLOCK as u64).min(frames.end);
        visit(PfnRange::new(at, end));
        at = end;
    }
}

/// Makes the zones, marks what is reserved, and frees the rest.
fn settle_zones(
    plan: &Plan,
    memblock: &Memblock,
    records: &Records,
    blocks: &Blocks,
    options: &BootOptions,
) -> Zones {
    let mut zones = Zones::new();
    each_piece(plan, memblock, |piece| {
        let id = zones.obtain(piece.kind, piece.node);
        zones.grow(id, piece.frames);
        let tag = &blocks.tags[block_of(piece.frames.start)];
        if tag.zone().is_none() {
            tag.set_zone(id);
            tag.set_mobility(Mobility::Movable);
        }
        if piece.frames.len() == BLOCK as u64 {
            tag.set_gapless();
        }
    });

    for region in memblock.memory() {
        let ram = region.range.whole_frames();
        let taken = memblock
            .reserved()
            .map(|range| touched_frames(range).intersect(ram));
        for pfn in taken.flat_map(|range| range.iter()) {
            if let Some(record) = records.get(pfn) {
                record.set(FrameFlags::RESERVED);
            }
        }
    }
    for region in memblock.free_ranges() {
        each_block(region.range.whole_frames(), |frames| {
            free_at_boot(&zones, records, blocks, frames)
        });
    }
    zones.settle(options, plan.cpus as u32);
    zones
}

/// Frees frames of one block.
fn free_at_boot(zones: &Zones, records: &Records, blocks: &Blocks, frames: PfnRange) {
    let block = block_of(frames.start);
    let Some(id) = blocks.tags[block].zone() else {
        return;
    };
    let zone = zones.get(id);
    if frames.len() == BLOCK as u64 {
        // Nothing else touches the line yet, so this cannot be a double free.
        let fresh = blocks.lines[block].free(0, Order::PMD);
        debug_assert!(fresh.is_ok());
        zone.manage(frames.len());
        if blocks.tags[block].move_level(Level::Full, Level::Whole)
            && let Some(map) = map_of(Mobility::Movable, Level::Whole)
        {
            blocks.hints.fill(zone, map, block..block + 1);
        }
        return;
    }
    for pfn in frames.iter() {
        // A reservation that ends inside a frame takes all of it.
        let reserved = records
            .get(pfn)
            .is_none_or(|record| record.has(FrameFlags::RESERVED));
        if !reserved && blocks.lines[block].free(place_of(pfn), Order::ZERO).is_ok() {
            zone.manage(1);
        }
    }
    blocks.refresh(zone, block);
}

/// Every frame that a byte range touches.
fn touched_frames(range: PhysRange) -> PfnRange {
    let end = range.end.raw().div_ceil(PAGE_SIZE as u64);
    PfnRange::new(range.start.frame(), Pfn::new(end))
}

/// The whole frames of each region of RAM.
fn present_of(memblock: &Memblock) -> impl DoubleEndedIterator<Item = PfnRange> {
    memblock
        .memory()
        .iter()
        .map(|region| region.range.whole_frames())
        .filter(|range| !range.is_empty())
}

struct TooRagged;

/// Ranges that touch (because only their nodes differ), joined.
struct Joined {
    list: [PfnRange; MAP_ENTRIES],
    len: usize,
}

impl Joined {
    fn iter(&self) -> impl Iterator<Item = PfnRange> {
        self.list[..self.len].iter().copied()
    }
}

fn joined(ranges: impl Iterator<Item = PfnRange>) -> Result<Joined, TooRagged> {
    let mut all = Joined {
        list: [PfnRange::new(Pfn::ZERO, Pfn::ZERO); MAP_ENTRIES],
        len: 0,
    };
    for range in ranges {
        match all.list[..all.len].last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                *all.list.get_mut(all.len).ok_or(TooRagged)? = range;
                all.len += 1;
            }
        }
    }
    Ok(all)
}
