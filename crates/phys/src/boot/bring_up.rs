//! The steps from memblock to the allocator.

use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU8, AtomicU64};
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_units::{Order, PAGE_SIZE, Pfn, PfnRange, PhysAddr, PhysRange};

use super::map::MemoryMap;
use super::memblock::{Attributes, Memblock, Region};
use super::options::{BootError, BootOptions, Poison};
use super::pieces::Pieces;
use super::tables::{Carver, room};
use crate::alloc::{
    BLOCK, Blocks, Counters, CpuArea, Cpus, HintWord, Hints, Injector, Line, Lines, Mobility, PFN_LIMIT,
    Ring, Some64, Tag, Whole, WholeWord, ZoneShare, block_of, place_of,
};
use crate::compact::{Daemons, Knobs};
use crate::page_owner::PageOwners;
use crate::phys::Phys;
use crate::ram::Found;
use crate::record::{FrameFlags, FrameRecord, NearRecords, Records};
use crate::sectioned::Piece as SectionPiece;
use crate::sections::{Part, PresentRange, SECTION, SectionInfo, SectionWord, Sections, section_of};
use crate::tables::{OwnTables, each_block};
use crate::zone::{MAX_NODES, Policy, ZoneKind, ZoneLayout, Zones, movable_start};

impl<P: Platform> Phys<P> {
    /// Boots from the firmware's map.
    ///
    /// # Errors
    /// [`BootError`] says what is wrong with the map or how it is too small.
    pub fn boot<const N: usize>(
        platform: P,
        map: &MemoryMap<N>,
        options: BootOptions,
    ) -> Result<Self, BootError> {
        let memblock = Memblock::from_map(&platform, map)?;
        Self::take_over(platform, memblock, options)
    }

    /// Takes over from memblock: what is not reserved there becomes free.
    ///
    /// # Errors
    /// As [`boot`](Phys::boot).
    ///
    /// # Linux source concept
    /// `free_area_init()` and `memblock_free_all()`.
    pub fn take_over(
        platform: P,
        mut memblock: Memblock<P>,
        options: BootOptions,
    ) -> Result<Self, BootError> {
        let there = |region: &Region| platform.has_ram(region.range);
        if !memblock.memory().iter().all(there) {
            return Err(BootError::NotThisRam);
        }
        let low = options.reserve_low.max(PAGE_SIZE as u64);
        memblock.reserve(PhysRange::new(PhysAddr::ZERO, PhysAddr::new(low)))?;
        let plan = Plan::new(&platform, &memblock, &options)?;
        let Laid {
            near,
            records,
            blocks,
            cpus,
            sections,
        } = Laid::new(&platform, &mut memblock, &plan, &options)?;
        let zones = settle_zones(&plan, &memblock, &records, &blocks, &options);
        memblock.retire();
        let policy = Policy::new(&options);
        zones.settle(&policy, plan.cpus as u32);
        let present = (0..sections.len()).map(|section| sections.info(section) != SectionInfo::default());
        let page_owners = options.page_owner.then(|| PageOwners::new(present));
        let phys = Self {
            near,
            records,
            blocks,
            cpus,
            zones,
            sections,
            policy: SpinLock::new(policy),
            plugging: Mutex::new(()),
            shared: Counters::default(),
            injector: Injector::default(),
            poisoning: options.poison,
            on_violation: options.on_violation,
            last_violation: SpinLock::new(None),
            reclaimer: SpinLock::new(None),
            migrator: SpinLock::new(None),
            devices: SpinLock::new(Vec::new()),
            mapper: SpinLock::new(None),
            auto_online: AtomicU8::new(0),
            accountant: SpinLock::new(None),
            console: SpinLock::new(None),
            told: AtomicU64::new(0),
            page_owners,
            daemons: Daemons::new(),
            knobs: Knobs::new(),
            platform,
        };
        phys.tell_cpus();
        phys.cpus
            .be_careful(options.poison != Poison::Off || options.page_owner);
        Ok(phys)
    }
}

/// All tables, in RAM that memblock gave.
struct Laid {
    near: NearRecords,
    records: Records,
    blocks: Blocks,
    cpus: Cpus,
    sections: Sections,
}

impl Laid {
    fn new<P: Platform>(
        platform: &P,
        memblock: &mut Memblock<P>,
        plan: &Plan,
        options: &BootOptions,
    ) -> Result<Self, BootError> {
        let found = match options.ram_is_zeroed {
            true => Found::Zeroes,
            false => Found::Garbage,
        };
        let limit = plan.movable.min(Pfn::new(PFN_LIMIT)).base();
        let mut carver = Carver::reserve(platform, memblock, plan.bytes(), limit, found)?;
        let (words, ranges) = (carver.table(plan.sections), carver.table(plan.present));
        let sections = Sections::new(words, ranges, joined(memblock), plan.nodes);
        let mut records = Records::new(carver.table(plan.sections));
        let mut blocks = Blocks {
            lines: Lines::new(carver.table(plan.sections)),
            used: Lines::new(carver.table(plan.sections)),
            tags: carver.table(plan.blocks()),
            hints: Hints::new(carver.table(Hints::words(plan.blocks()))),
            whole: Whole::new(carver.table(Whole::words(plan.blocks()))),
            ram_was_zeroed: options.ram_is_zeroed,
        };
        let cpus = Cpus::new(
            carver.table(plan.cpus),
            carver.table(plan.cpus * plan.zones),
            carver.table(Cpus::rings(plan.cpus, plan.zones)),
            plan.zones,
        );

        Pieces {
            platform,
            memblock,
            sections: &sections,
            records: &records,
            blocks: &blocks,
            limit,
            found,
            whole: options.hotplug_below > 0,
        }
        .give_all()?;
        records.open_window();
        blocks.lines.open_window();
        blocks.used.open_window();
        memblock.release_lists();
        mark_own(carver.frames(), &sections, &records, &blocks);
        Ok(Self {
            near: carver.pairs(records.pieces(), &blocks.tags),
            records,
            blocks,
            cpus,
            sections,
        })
    }
}

/// Marks the frames of all tables, once there are records to mark.
fn mark_own(tables: PfnRange, sections: &Sections, records: &Records, blocks: &Blocks) {
    let own = OwnTables { records, blocks };
    own.mark(tables);
    for section in 0..sections.len() {
        for part in Part::ALL {
            own.mark(sections.home(section, part));
        }
    }
}

/// How large everything will be.
struct Plan {
    /// Up to the end of the memory that can be.
    sections: usize,
    cpus: usize,
    zones: usize,
    present: usize,
    nodes: u8,
    movable: Pfn,
    layout: ZoneLayout,
    /// Whether memory may come later, for which there are zones without any.
    grows: bool,
}

impl Plan {
    fn new<P: Platform>(
        platform: &P,
        memblock: &Memblock<P>,
        options: &BootOptions,
    ) -> Result<Self, BootError> {
        let end = present_of(memblock).last().ok_or(BootError::NoMemory)?.end;
        let can_be = Pfn::new(options.hotplug_below.div_ceil(PAGE_SIZE as u64));
        if end.max(can_be).raw() > PFN_LIMIT {
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
            sections: section_of(end.max(can_be) + (SECTION - 1)),
            cpus: platform.cpus() as usize,
            zones: 0,
            present: joined(memblock).count(),
            nodes,
            movable: movable_start(present_of(memblock), options.movable),
            layout: options.zones,
            grows: options.hotplug_below > 0,
        };
        let mut zones = Zones::new();
        plan.make_zones(&mut zones, memblock, |_, _| ());
        plan.zones = zones.len();
        Ok(plan)
    }

    /// Makes the zones that have RAM, and those that may come to have some.
    fn make_zones<P>(
        &self,
        zones: &mut Zones,
        memblock: &Memblock<P>,
        mut visit: impl FnMut(&Piece, crate::zone::ZoneId),
    ) {
        each_piece(self, memblock, |piece| {
            let id = zones.obtain(piece.kind, piece.node);
            zones.grow(id, piece.frames);
            visit(&piece, id);
        });
        if self.grows {
            for node in (0..self.nodes).map(super::map::NodeId) {
                for &kind in self.layout.kinds() {
                    zones.obtain(kind, node);
                }
            }
        }
    }

    /// Blocks of all sections.
    fn blocks(&self) -> usize {
        self.sections * (SECTION as usize / BLOCK)
    }

    fn bytes(&self) -> u64 {
        room::<SectionWord>(self.sections)
            + room::<PresentRange>(self.present)
            + room::<SectionPiece<FrameRecord>>(self.sections)
            + 2 * room::<SectionPiece<Line>>(self.sections)
            + room::<Tag>(self.blocks())
            + room::<HintWord>(Hints::words(self.blocks()))
            + room::<WholeWord>(Whole::words(self.blocks()))
            + room::<CpuArea>(self.cpus)
            + room::<ZoneShare>(self.cpus * self.zones)
            + room::<Ring>(Cpus::rings(self.cpus, self.zones))
    }
}

/// RAM of one block and one node.
struct Piece {
    kind: ZoneKind,
    node: super::map::NodeId,
    frames: PfnRange,
}

/// Cuts RAM at the borders of blocks. A block takes the node of its first piece.
fn each_piece<P>(plan: &Plan, memblock: &Memblock<P>, mut visit: impl FnMut(Piece)) {
    let mut last = (usize::MAX, super::map::NodeId(0));
    for region in memblock.memory() {
        each_block(region.range.whole_frames(), |frames| {
            let block = block_of(frames.start);
            if block != last.0 {
                last = (block, region.node);
            }
            visit(Piece {
                kind: plan.layout.kind_of(frames.start, plan.movable),
                node: last.1,
                frames,
            });
        });
    }
}

/// Makes the zones, marks what is reserved, and frees the rest.
fn settle_zones<P>(
    plan: &Plan,
    memblock: &Memblock<P>,
    records: &Records,
    blocks: &Blocks,
    options: &BootOptions,
) -> Zones {
    let mut zones = Zones::new();
    plan.make_zones(&mut zones, memblock, |piece, id| {
        let tag = &blocks.tags[block_of(piece.frames.start)];
        if tag.zone().is_none() {
            tag.set_zone(id);
            tag.set_mobility(Mobility::Movable);
        }
        if piece.frames.len() == BLOCK as u64 {
            tag.set_gapless();
        }
    });
    zones.arrange(options);

    for region in memblock.memory() {
        let ram = region.range.whole_frames();
        if region.attributes.contains(Attributes::NOMAP) {
            set_reserved(records, blocks, ram);
        }
        for range in memblock.reserved() {
            set_reserved(records, blocks, touched_frames(range).intersect(ram));
        }
    }
    for region in memblock.free_ranges() {
        each_block(region.range.whole_frames(), |frames| {
            free_at_boot(&zones, records, blocks, frames)
        });
    }
    zones
}

/// Marks frames as nobody's. Blocks of nothing but the allocator's own tables
/// are known without a mark, which would touch a record for each frame.
fn set_reserved(records: &Records, blocks: &Blocks, frames: PfnRange) {
    each_block(frames, |frames| {
        if blocks.tags[block_of(frames.start)].is_tables() {
            return;
        }
        for pfn in frames.iter() {
            if let Some(record) = records.get(pfn) {
                record.set(FrameFlags::RESERVED);
            }
        }
    });
}

/// Frees frames of one block.
fn free_at_boot(zones: &Zones, records: &Records, blocks: &Blocks, frames: PfnRange) {
    let block = block_of(frames.start);
    let Some(id) = blocks.tags[block].zone() else {
        return;
    };
    let zone = zones.get(id);
    if frames.len() == BLOCK as u64 {
        zone.manage(frames.len());
        let twice = blocks.give_whole(zone, Some64::one(block));
        debug_assert!(twice.is_empty());
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
fn present_of<P>(memblock: &Memblock<P>) -> impl DoubleEndedIterator<Item = PfnRange> {
    memblock
        .memory()
        .iter()
        .map(|region| region.range.whole_frames())
        .filter(|range| !range.is_empty())
}

/// The same, with those joined that touch because only their nodes differ.
fn joined<P>(memblock: &Memblock<P>) -> impl Iterator<Item = PfnRange> {
    let mut ranges = present_of(memblock).peekable();
    core::iter::from_fn(move || {
        let mut range = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.start == range.end) {
            range.end = next.end;
        }
        Some(range)
    })
}
