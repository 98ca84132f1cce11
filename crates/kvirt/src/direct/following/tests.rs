//! The direct map follows memory as a naive list of pages does.
#![allow(clippy::unwrap_used)]

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Entry, KernelFormat, Level};
use foliant_paging::{PageTables, TopSync};
use foliant_phys::boot::{MinFree, Poison};
use foliant_phys::testing::{assert_all_free, audit};
use foliant_phys::{
    AddError, BootOptions, MemoryMap, Migrator, Moved, NewMemory, OnlineTo, Phys, RecordsIn, RemoveError,
    SECTION, SectionState, ZoneLayout,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr};

use super::*;

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

fn boot(config: FollowingConfig) -> Arc<Phys<Machine>> {
    let zones = match config.above {
        Above::HighMemory => ZoneLayout::I386 { highmem: config.end },
        Above::Refused => ZoneLayout::X86_64,
    };
    let options = BootOptions {
        zones,
        min_free: MinFree::Linux,
        hotplug_below: section(ROOM).base().raw(),
        poison: Poison::Off,
        ..BootOptions::test()
    };
    let platform = Machine::new(section(ROOM).base().raw() as usize, 2);
    let end = (section(BOOT) + REST).base();
    let map = MemoryMap::ram(PhysRange::new(PhysAddr::ZERO, end));
    Arc::new(Phys::boot(platform, &map, options).unwrap())
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

fn random_steps<F: KernelFormat>(config: FollowingConfig, steps: u64, seed: u64) {
    let mut world = World::<F>::new(config);
    let mut seed = seed;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..steps {
        let at = BOOT + 1 + random(ROOM - BOOT - 1);
        // Whole GiB now and then.
        let frames = match random(4) {
            0 => sections(8 * (1 + random(2)), 24),
            1 => sections(8 * (1 + random(2)), 16),
            _ => sections(at, (at + 1 + random(4)).min(ROOM)),
        };
        let there = |phys: &Phys<Machine>| {
            let mut all = phys.sections();
            all.any(|pfn| frames.contains(pfn))
        };
        match random(5) {
            0 | 1 => {
                let records = [RecordsIn::OldMemory, RecordsIn::NewMemory][random(2) as usize];
                let new = NewMemory {
                    records,
                    ..NewMemory::new(frames)
                };
                let expected = match there(&world.phys) || frames.is_empty() {
                    false => Ok(()),
                    true if frames.is_empty() => Err(AddError::Unaligned),
                    true => Err(AddError::Exists),
                };
                assert_eq!(world.add(new), expected);
            }
            2 => {
                let _may_be_absent = world.phys.online_section(section(at), OnlineTo::Movable);
            }
            3 => {
                let _may_be_absent = world.phys.offline_section(section(at), &Nobody);
            }
            _ => {
                let offline = |at: &u64| world.phys.section_state(section(*at)) == SectionState::Offline;
                let first = frames.start.raw() / SECTION;
                let run = (first..frames.end.raw() / SECTION).take_while(offline).count() as u64;
                let part = sections(first, first + run);
                match run {
                    0 => assert!(world.remove(frames).is_err()),
                    _ => world.remove(part).unwrap(),
                }
            }
        }
        world.check();
    }
    world.end();
}

#[test]
fn random_plugging_is_mapped_as_a_naive_list_says_with_four_levels() {
    random_steps::<X86_64>(four(), 60, 7);
    random_steps::<X86_64>(four().largest(Level::PMD), 30, 8);
}

#[test]
fn random_plugging_is_mapped_as_a_naive_list_says_with_five_levels() {
    random_steps::<X86_64La57>(five(), 60, 9);
}

#[test]
fn random_plugging_shows_low_memory_alone_on_i386() {
    random_steps::<X86Pae>(low(), 40, 10);
    random_steps::<X86Legacy>(low(), 25, 11);
}

#[test]
fn a_part_of_a_huge_page_is_cut_out_and_empty_tables_go() {
    let mut world = World::<X86_64>::new(four());
    let tables = |world: &World<X86_64>| {
        Level::all()
            .map(|level| world.tables.tables(level))
            .collect::<Vec<_>>()
    };
    let before = tables(&world);
    world.add(NewMemory::new(sections(8, 16))).unwrap();
    assert_eq!(world.map.mapped(Level::PUD), 1 << 30);
    assert_eq!(tables(&world)[..2], before[..2], "a page of 1 GiB needs no table");
    let at = FOUR + section(11).base().raw();
    world.tables.context().take_flushes();
    world.remove(sections(11, 12)).unwrap();
    let flushes = world.tables.context().take_flushes();
    let gone = |page| {
        flushes
            .iter()
            .any(|flush| flush.ranges.iter().any(|range| range.contains(page)))
    };
    assert!(gone(at.page()) && gone(at.page() + (SECTION - 1)));
    assert_eq!(world.map.mapped(Level::PUD), 0);
    assert_eq!(world.map.virt(section(11).base()), None);
    assert_eq!(world.map.phys(at - 8), Some((section(11)).base() - 8));
    world.check();
    // What was cut stays cut, but the table goes with the last part.
    world.add(NewMemory::new(sections(11, 12))).unwrap();
    world.check();
    world.remove(sections(8, 16)).unwrap();
    assert_eq!(tables(&world), before);
    world.end();
}

#[test]
fn what_is_mapped_already_and_what_has_no_room_is_refused() {
    let mut config = four();
    config.end = section(12);
    let mut world = World::<X86_64>::new(config);
    let refused = |errno| Err(AddError::NotMapped(errno));
    assert_eq!(world.add(NewMemory::new(sections(11, 13))), refused(Errno::RANGE));
    // Somebody mapped something there.
    let page = FOUR.page() + section(6).raw() + 77;
    world
        .map
        .direct_window()
        .map(foliant_units::VpnRange::new(page, page + 1), Pfn::new(1))
        .unwrap();
    assert_eq!(world.add(NewMemory::new(sections(5, 8))), refused(Errno::EXIST));
    assert_eq!(world.tables.get(page).target(Level::PTE), Pfn::new(1).base());
    world
        .map
        .direct_window()
        .unmap(foliant_units::VpnRange::new(page, page + 1));
    world.add(NewMemory::new(sections(5, 8))).unwrap();
    // A second map of the same has no room either.
    let second = FollowingMap::of_ram(&world.tables, config);
    assert_eq!(second.err(), Some(Errno::EXIST));
    world.end();
}

/// For every allocation that can fail while memory comes, and then goes.
fn every_failure<F: KernelFormat>(
    config: FollowingConfig,
    records: RecordsIn,
    frames: PfnRange,
    hole: PfnRange,
) {
    let mut world = World::<F>::new(config);
    let below_top = F::GEOMETRY.below(F::GEOMETRY.top()).unwrap();
    let state = |world: &World<F>| {
        // Those right below the root are kept, because other roots may link them.
        let kept = world.tables.tables(below_top);
        let others = Level::all().filter(|&level| level != below_top);
        let tables: Vec<usize> = others.map(|level| world.tables.tables(level)).collect();
        let census = audit(&world.phys);
        let frames = (
            census.allocated - kept as u64,
            census.available() + kept as u64,
            census.reserved,
        );
        (tables, world.tables.waiting(), frames)
    };
    let new = NewMemory {
        records,
        ..NewMemory::new(frames)
    };
    let mut failed = 0;
    for nth in 1.. {
        let before = state(&world);
        world.phys.fail_at(nth);
        match world.add(new) {
            Ok(()) => break,
            Err(AddError::OutOfMemory | AddError::NotMapped(Errno::NOMEM)) => failed += 1,
            Err(error) => panic!("{error}"),
        }
        world.check();
        assert_eq!(state(&world), before, "allocation {nth}");
    }
    assert!(failed > 0);
    for nth in 1.. {
        world.phys.fail_at(nth);
        match world.remove(hole) {
            Ok(()) => break,
            Err(error) => assert_eq!(error, RemoveError::NotUnmapped(Errno::NOMEM)),
        }
        // Only the sizes of pages may have changed, and no frame is without an owner.
        let bytes: u64 = Level::all().map(|level| world.map.mapped(level)).sum();
        let expected: u64 = Level::all().map(|level| world.naive.bytes::<F>(level)).sum();
        assert_eq!(bytes, expected);
        for pfn in [frames.start, hole.start, hole.end - 1, frames.end - 1] {
            let shown = pfn < config.end;
            assert_eq!(world.map.virt(pfn.base()).is_some(), shown);
        }
        audit(&world.phys);
    }
    world.phys.fail_at(0);
    world.check();
    world.end();
}

#[test]
fn whichever_allocation_fails_nothing_is_mapped_or_lost() {
    for records in [RecordsIn::OldMemory, RecordsIn::NewMemory] {
        every_failure::<X86_64>(four(), records, sections(7, 17), sections(9, 11));
        every_failure::<X86_64La57>(five(), records, sections(7, 17), sections(9, 11));
    }
    every_failure::<X86Pae>(low(), RecordsIn::OldMemory, sections(4, 9), sections(5, 6));
    every_failure::<X86Legacy>(low(), RecordsIn::NewMemory, sections(4, 9), sections(6, 8));
}

#[test]
fn whichever_allocation_fails_there_is_no_map_or_all_of_it() {
    let phys = boot(four());
    let tables = Arc::new(PageTables::<Machine>::new_kernel(&phys).unwrap());
    for nth in 1.. {
        phys.fail_at(nth);
        match FollowingMap::of_ram(&tables, four()) {
            Ok(map) => {
                assert!(nth > 3);
                assert_eq!(map.phys(FOUR + 0x1234), Some(PhysAddr::new(0x1234)));
                break;
            }
            Err(errno) => assert_eq!(errno, Errno::NOMEM),
        }
        // Those right below the root are kept.
        assert_eq!(tables.tables(Level::PMD) + tables.tables(Level::PTE), 0);
        audit(&phys);
    }
    phys.fail_at(0);
    drop(tables);
    assert_all_free(&phys);
}

#[test]
fn other_roots_get_new_tops_when_they_miss_them_or_before() {
    let mut world = World::<X86_64La57>::new(FollowingConfig {
        records: None,
        ..five()
    });
    world.add(NewMemory::new(sections(8, 16))).unwrap();
    let space = || {
        let space: PageTables<Machine, X86_64La57> = PageTables::new(&world.phys).unwrap();
        space.sharing_from(VirtAddr::new(0xff00_0000_0000_0000).page())
    };
    let (one, other) = (space(), space());
    let at = world.map.virt(section(9).base()).unwrap();
    let fault = foliant_arch::PageFault {
        at,
        code: foliant_arch::ErrorCode::empty(),
    };
    assert!(world.map.fault(fault, &one));
    assert!(one.get(at.page()).is_present());
    let program = foliant_arch::PageFault {
        code: foliant_arch::ErrorCode::USER,
        ..fault
    };
    assert!(!world.map.fault(program, &one));
    world.map.sync(&other);
    assert_eq!(other.sync_top(&world.tables, at.page()), TopSync::Same);
    world.remove(sections(9, 10)).unwrap();
    assert!(!world.map.fault(fault, &other), "nothing is there any more");
    drop((one, other));
    world.end();
}
