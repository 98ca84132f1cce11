//! A machine with a direct map, and a naive list of the pages that it should have.
#![allow(clippy::unwrap_used)]

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Entry, Format, KernelFormat, Level};
use foliant_paging::{PageTables, TopSync};
use foliant_phys::boot::{Log, Memblock, MinFree, Poison, Region};
use foliant_phys::testing::{assert_all_free, audit};
use foliant_phys::{
    AddError, BootOptions, DeviceError, DeviceKind, DeviceMemory, DeviceOps, MemoryMap, Migrator, Moved,
    NewMemory, NodeId, OnlineTo, Phys, RecordsIn, RemoveError, SECTION, SectionState, ZoneLayout,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Order, Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr};

use super::*;

mod boot;
mod failures;
mod steps;
mod threads;

type Machine = TestPlatform<true>;

/// Sections that the machines here can have: 3 GiB.
const ROOM: u64 = 24;
/// Sections that they boot with, and a few pages.
const BOOT: u64 = 2;
const REST: u64 = 700;
const FOUR: VirtAddr = VirtAddr::new(0xffff_8880_0000_0000);
const FIVE: VirtAddr = VirtAddr::new(0xff11_0000_0000_0000);
const RECORDS_FOUR: VirtAddr = VirtAddr::new(0xffff_ea00_0000_0000);
const RECORDS_FIVE: VirtAddr = VirtAddr::new(0xffd4_0000_0000_0000);
const LOW: VirtAddr = VirtAddr::new(0xc000_0000);
/// 896 MiB, of which a bit is not whole.
const LOWMEM: Pfn = Pfn::new(7 * SECTION - 300);

fn section(at: u64) -> Pfn {
    Pfn::new(at * SECTION)
}

fn sections(first: u64, end: u64) -> PfnRange {
    PfnRange::new(section(first), section(end))
}

fn four() -> FollowingConfig {
    FollowingConfig::new(FOUR, Pfn::new(1 << 34)).records_at(RECORDS_FOUR)
}

fn five() -> FollowingConfig {
    FollowingConfig::new(FIVE, Pfn::new(1 << 40)).records_at(RECORDS_FIVE)
}

fn low() -> FollowingConfig {
    FollowingConfig {
        above: Above::HighMemory,
        ..FollowingConfig::new(LOW, LOWMEM).largest(Level::PMD)
    }
}

fn options(config: FollowingConfig) -> BootOptions {
    let zones = match config.above {
        Above::HighMemory => ZoneLayout::I386 { highmem: config.end },
        Above::Refused => ZoneLayout::X86_64,
    };
    BootOptions {
        zones,
        min_free: MinFree::Linux,
        hotplug_below: section(ROOM).base().raw(),
        poison: Poison::Off,
        ..BootOptions::test()
    }
}

fn boot(config: FollowingConfig) -> Arc<Phys<Machine>> {
    let platform = Machine::new(section(ROOM).base().raw() as usize, 2);
    let end = (section(BOOT) + REST).base();
    let map = MemoryMap::ram(PhysRange::new(PhysAddr::ZERO, end));
    Arc::new(Phys::boot(platform, &map, options(config)).unwrap())
}

/// Nobody moves, and nobody has to: most sections are empty.
struct Nobody;

impl Migrator for Nobody {
    fn migrate(&self, _: Pfn, _: Pfn) -> Moved {
        Moved::No
    }
}

/// The pages that show memory, by their first frame.
#[derive(Default)]
struct Naive(BTreeMap<u64, Level>);

impl Naive {
    fn add<F: KernelFormat>(&mut self, frames: PfnRange, largest: Level) {
        let mut at = frames.start.raw();
        while at < frames.end.raw() {
            let fits = |level: &Level| {
                let pages = F::GEOMETRY.entry_pages(*level);
                let kind = *level == Level::PTE
                    || *level <= largest
                        && !F::GEOMETRY.is_folded(*level)
                        && *level != F::GEOMETRY.top()
                        && F::GEOMETRY.can_be_leaf(*level);
                kind && at.is_multiple_of(pages) && at + pages <= frames.end.raw()
            };
            let level = Level::all().rev().find(fits).unwrap();
            assert_eq!(self.0.insert(at, level), None);
            at += F::GEOMETRY.entry_pages(level);
        }
    }

    fn remove<F: KernelFormat>(&mut self, frames: PfnRange) {
        let (start, end) = (frames.start.raw(), frames.end.raw());
        while let Some((at, level)) = self.straddling::<F>(start, end) {
            self.0.remove(&at);
            let below = F::GEOMETRY.below(level).unwrap();
            let pages = F::GEOMETRY.entry_pages(below);
            let parts = F::GEOMETRY.entry_pages(level) / pages;
            self.0.extend((0..parts).map(|part| (at + part * pages, below)));
        }
        self.0.retain(|at, _| !(start..end).contains(at));
    }

    fn straddling<F: KernelFormat>(&self, start: u64, end: u64) -> Option<(u64, Level)> {
        let mut leaves = self.0.iter().map(|(&at, &level)| (at, level));
        leaves.find(|&(at, level)| {
            let last = at + F::GEOMETRY.entry_pages(level);
            let overlaps = at < end && start < last;
            overlaps && (at < start || last > end)
        })
    }

    fn bytes<F: KernelFormat>(&self, level: Level) -> u64 {
        let count = self.0.values().filter(|&&at| at == level).count() as u64;
        count * F::GEOMETRY.entry_span(level)
    }
}

struct World<F: KernelFormat> {
    phys: Arc<Phys<Machine>>,
    tables: Arc<PageTables<Machine, F>>,
    map: Arc<FollowingMap<Machine, F>>,
    config: FollowingConfig,
    naive: Naive,
}

impl<F: KernelFormat> World<F> {
    fn new(config: FollowingConfig) -> Self {
        let phys = boot(config);
        let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
        let map = FollowingMap::of_ram(&tables, config).unwrap();
        let mut naive = Naive::default();
        let large = F::GEOMETRY.table_pages(Level::PTE);
        naive.add::<F>(PfnRange::new(Pfn::ZERO, Pfn::new(large)), Level::PTE);
        let rest = PfnRange::new(Pfn::new(large), section(BOOT) + REST);
        naive.add::<F>(rest, config.largest);
        let world = Self {
            phys,
            tables,
            map,
            config,
            naive,
        };
        world.check();
        world
    }

    fn shown(&self, frames: PfnRange) -> PfnRange {
        frames.intersect(PfnRange::new(Pfn::ZERO, self.config.end))
    }

    fn add(&mut self, new: NewMemory) -> Result<(), AddError> {
        self.phys.add_memory(new)?;
        self.naive.add::<F>(self.shown(new.frames), self.config.largest);
        Ok(())
    }

    fn remove(&mut self, frames: PfnRange) -> Result<(), RemoveError> {
        self.phys.remove_memory(frames)?;
        self.naive.remove::<F>(self.shown(frames));
        Ok(())
    }

    /// Tables and map are what the list says.
    fn check(&self) {
        let mut violations = Vec::new();
        self.tables.audit(&mut |violation| violations.push(violation));
        assert_eq!(violations, []);
        for level in Level::all() {
            assert_eq!(self.map.mapped(level), self.naive.bytes::<F>(level), "{level}");
        }
        let first = self.config.base.page();
        for (&frame, &level) in &self.naive.0 {
            let (leaf, found) = self.tables.look_up(first + frame);
            assert_eq!((leaf.target(found), found), (Pfn::new(frame).base(), level));
        }
        // No other frame is shown: the bytes above are all that is mapped.
        let recount = self.map.recount();
        for level in Level::all() {
            assert_eq!(recount[level.index()], self.naive.bytes::<F>(level), "{level}");
        }
        self.check_records();
        let highest = self.phys.ram_ranges().last().map(|range| range.end);
        assert!(highest <= Some(self.map.max_pfn()));
        let end = self.map.max_pfn().min(self.config.end);
        assert_eq!(self.map.high_memory(), self.config.base + end.base().raw());
    }

    fn check_records(&self) {
        if self.config.records.is_none() {
            assert_eq!(self.map.record(Pfn::ZERO), None);
            return;
        }
        let mut homes = 0;
        for (frames, home) in self.phys.record_homes() {
            homes += home.len() << 12;
            let whole = home.len() << 12 == 2 << 20 && home.start.is_aligned_to(512);
            let level = if whole { Level::PMD } else { Level::PTE };
            let last = frames.start + (home.len() * 64 - 1);
            for frame in [frames.start, last] {
                let at = self.map.record(frame).unwrap();
                let (leaf, found) = self.tables.look_up(at.page());
                assert_eq!(found, level);
                let behind = self.tables.get(at.page()).target(Level::PTE);
                let expected = home.start.base() + (frame - frames.start) * 64;
                assert_eq!(behind + at.offset() as u64, expected, "{leaf:?}");
            }
        }
        let shown: u64 = Level::all().map(|level| self.map.records_mapped(level)).sum();
        assert_eq!(shown, homes, "records of what is gone are shown");
    }

    fn end(mut self) {
        let left: Vec<Pfn> = self.phys.sections().collect();
        for pfn in left.into_iter().filter(|&pfn| pfn > section(BOOT)) {
            if self.phys.section_state(pfn) == SectionState::Online {
                self.phys.offline_section(pfn, &Nobody).unwrap();
            }
            self.remove(PfnRange::new(pfn, pfn + SECTION)).unwrap();
        }
        self.check();
        drop((self.map, self.tables));
        // Nobody is told any more.
        self.phys.add_memory(NewMemory::new(sections(5, 6))).unwrap();
        self.phys.remove_memory(sections(5, 6)).unwrap();
        assert_all_free(&self.phys);
    }
}
