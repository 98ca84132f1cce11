//! Memory that comes while a machine runs, and goes again.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use foliant_phys::boot::{MapEntry, MinFree, RegionKind};
use foliant_phys::{
    AddError, AllocRequest, BootOptions, Census, Effort, MapMemory, MemoryMap, Migrator, Moved, NewMemory,
    NodeChoice, NodeId, OnlineTo, Owner, Phys, RecordsIn, RemoveError, SECTION, SectionError, SectionState,
    Watermarks, ZoneKind, testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Order, Pfn, PfnRange, PhysAddr, PhysRange};

/// Sections that the machines here can have.
const ROOM: u64 = 6;
/// Sections and a bit that they boot with.
const BOOT: u64 = 2;

type Machine = Phys<TestPlatform>;

fn section(at: u64) -> Pfn {
    Pfn::new(at * SECTION)
}

fn sections(first: u64, end: u64) -> PfnRange {
    PfnRange::new(section(first), section(end))
}

fn options() -> BootOptions {
    BootOptions {
        min_free: MinFree::Linux,
        watermark_scale: 10,
        reserve_ratio: [256, 256, 32, 0],
        hotplug_below: ((ROOM + 1) * SECTION) << 12,
        poison: foliant_phys::boot::Poison::Off,
        ..BootOptions::test()
    }
}

fn boot_nodes(nodes: u8, options: BootOptions) -> Machine {
    let bytes = (ROOM * SECTION) << 12;
    let mut map = MemoryMap::new();
    for node in 0..nodes {
        let part = ((BOOT * SECTION + 4096) / u64::from(nodes)) << 12;
        map.add(MapEntry {
            range: PhysRange::new(
                PhysAddr::new(u64::from(node) * part),
                PhysAddr::new((u64::from(node) + 1) * part),
            ),
            kind: RegionKind::Usable,
            node: NodeId(node),
        })
        .unwrap();
    }
    Phys::boot(TestPlatform::new(bytes as usize, 2), &map, options).unwrap()
}

fn boot() -> Machine {
    boot_nodes(1, options())
}

/// Nobody moves.
struct Nobody;

impl Migrator for Nobody {
    fn migrate(&self, _: Pfn, _: Pfn) -> Moved {
        Moved::No
    }
}

/// Moves frames that it knows.
struct Users<'a> {
    phys: &'a Machine,
    used: Mutex<Vec<Pfn>>,
}

impl Migrator for Users<'_> {
    fn migrate(&self, from: Pfn, to: Pfn) -> Moved {
        let mut used = self.used.lock().unwrap();
        match used.iter_mut().find(|pfn| **pfn == from) {
            Some(pfn) => {
                self.phys.content(to).copy_from(self.phys.content(from));
                *pfn = to;
                drop(self.phys.adopt(from));
                Moved::Yes
            }
            None => Moved::No,
        }
    }
}

/// All that others can see of a machine's memory.
#[derive(Clone, PartialEq, Debug)]
struct Shape {
    zones: Vec<(ZoneKind, u64, u64, u64, Watermarks, Vec<u64>)>,
    census: Census,
    total: u64,
    states: Vec<SectionState>,
}

fn shape(phys: &Machine) -> Shape {
    phys.drain_all();
    let zones = phys.zones().iter().filter(|(_, zone)| zone.present() > 0);
    Shape {
        zones: zones
            .map(|(_, zone)| {
                (
                    zone.kind(),
                    zone.spanned(),
                    zone.present(),
                    zone.managed(),
                    zone.watermarks(),
                    zone.lowmem_reserve().to_vec(),
                )
            })
            .collect(),
        census: testing::audit(phys),
        total: phys.stats().total,
        states: (0..ROOM).map(|at| phys.section_state(section(at))).collect(),
    }
}

fn kind_of(phys: &Machine, pfn: Pfn) -> ZoneKind {
    phys.zones().get(phys.zone_of(pfn).unwrap()).kind()
}

#[test]
fn memory_comes_online_and_goes_and_everything_follows() {
    let phys = boot();
    let before = shape(&phys);
    phys.add_memory(NewMemory::new(sections(3, 5))).unwrap();
    assert_eq!(phys.section_state(section(3)), SectionState::Offline);
    assert!(phys.is_ram(section(3)) && !phys.is_online(section(3)));
    assert!(phys.find_record(section(3)).is_some() && phys.find_record(section(5)).is_none());
    let added = shape(&phys);
    assert_eq!(added.total, before.total);
    // Two blocks of records, and a frame of lines and one of use for each section.
    assert_eq!(added.census.reserved, before.census.reserved + 2 * (512 + 2));
    assert_eq!(added.census.offline, 2 * SECTION);

    phys.online_section(section(3), OnlineTo::Kernel).unwrap();
    phys.online_section(section(4), OnlineTo::Movable).unwrap();
    let online = shape(&phys);
    assert_eq!(online.total, before.total + 2 * SECTION);
    let zone = |kind| phys.zones().find(kind, NodeId(0)).unwrap().1;
    let normal = zone(ZoneKind::Normal);
    assert_eq!((normal.span(), normal.present()), (sections(3, 4), SECTION));
    let movable = zone(ZoneKind::Movable);
    assert_eq!(
        (movable.span(), movable.present(), movable.managed()),
        (sections(4, 5), SECTION, SECTION)
    );
    assert_eq!(movable.watermarks().min, 32);
    let low = [ZoneKind::Dma, ZoneKind::Dma32, ZoneKind::Normal].map(|kind| zone(kind).managed());
    let lowmem: u64 = low.iter().sum();
    let min = (lowmem * 64).isqrt() / 4 * SECTION / lowmem;
    assert_eq!(normal.watermarks().min, min);
    let above = low[1] + low[2] + SECTION;
    assert_eq!(
        zone(ZoneKind::Dma).lowmem_reserve()[ZoneKind::Movable.index()],
        above / 256
    );

    let program = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
    assert_eq!(kind_of(&phys, program.pfn()), ZoneKind::Movable, "asked first");
    assert_eq!(phys.remove_memory(sections(3, 5)), Err(RemoveError::Online));
    drop(program);
    for at in [3, 4] {
        phys.offline_section(section(at), &Nobody).unwrap();
    }
    assert_eq!(shape(&phys), added);
    let program = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
    assert_eq!(
        kind_of(&phys, program.pfn()),
        ZoneKind::Dma32,
        "the other is empty"
    );
    drop(program);
    phys.remove_memory(sections(3, 5)).unwrap();
    assert_eq!(shape(&phys), before);
    assert!(phys.find_record(section(3)).is_none() && phys.find_content(section(3)).is_none());
    assert_eq!(phys.remove_memory(sections(3, 4)), Err(RemoveError::Absent));
}

#[test]
fn memory_can_bring_its_records_along() {
    let phys = boot();
    let before = shape(&phys);
    let new = NewMemory {
        records: RecordsIn::NewMemory,
        ..NewMemory::new(sections(3, 4))
    };
    // Nothing that is large is free: records in old memory find no room.
    let all = AllocRequest::kernel(Owner::Test)
        .effort(Effort::Reserves)
        .silent();
    let mut held: Vec<_> = core::iter::from_fn(|| phys.alloc(all).ok()).collect();
    held.retain(|frame| frame.pfn() >= section(1) || frame.pfn().raw() % 4 > 1);
    assert_eq!(
        phys.add_memory(NewMemory::new(sections(3, 4))),
        Err(AddError::OutOfMemory)
    );
    phys.add_memory(new).unwrap();
    phys.online_section(section(3), OnlineTo::Default).unwrap();
    assert_eq!(phys.stats().total, before.total + SECTION - 512);
    assert!(
        phys.find_content(section(3)).is_none(),
        "records are nobody's to write"
    );
    assert!(phys.find_content(section(3) + 512).is_some());
    let more: Vec<_> = core::iter::from_fn(|| phys.alloc(all).ok()).collect();
    let inside = |pfn: Pfn| sections(3, 4).contains(pfn);
    assert_eq!(
        more.iter().filter(|frame| inside(frame.pfn())).count() as u64,
        SECTION - 512
    );
    assert!(
        more.iter()
            .all(|frame| frame.pfn() >= section(3) + 512 || !inside(frame.pfn()))
    );
    testing::audit(&phys);
    drop((held, more));
    phys.drain_all();
    phys.offline_section(section(3), &Nobody).unwrap();
    phys.remove_memory(sections(3, 4)).unwrap();
    assert_eq!(shape(&phys), before);
}

#[test]
fn whichever_allocation_fails_nothing_has_changed() {
    let phys = boot();
    let before = shape(&phys);
    let new = NewMemory::new(sections(2 + 1, 6));
    let mut failures = 0;
    for nth in 1.. {
        phys.fail_at(nth);
        let result = phys.add_memory(new);
        phys.fail_at(0);
        match result {
            Ok(()) => break,
            Err(error) => assert_eq!(error, AddError::OutOfMemory),
        }
        failures += 1;
        assert_eq!(shape(&phys), before, "allocation {nth}");
        assert!(phys.find_record(section(3)).is_none());
    }
    assert_eq!(failures, 6, "records and lines of three sections");
    phys.remove_memory(new.frames).unwrap();
    assert_eq!(shape(&phys), before);
}

#[test]
fn what_is_in_added_memory_moves_out_before_it_goes() {
    let phys = boot();
    let users = Users {
        phys: &phys,
        used: Mutex::default(),
    };
    phys.set_auto_online(Some(OnlineTo::Movable));
    assert_eq!(phys.auto_online(), Some(OnlineTo::Movable));
    phys.add_memory(NewMemory {
        is_zeroed: true,
        ..NewMemory::new(sections(3, 5))
    })
    .unwrap();
    assert_eq!(phys.section_state(section(4)), SectionState::Online);
    for at in 0..3000u64 {
        let frame = phys.alloc(AllocRequest::movable(Owner::Test).zeroed()).unwrap();
        frame.content().store_u64(0, at);
        users.used.lock().unwrap().push(frame.into_pfn());
    }
    let inside = |pfn: &Pfn| sections(3, 5).contains(*pfn);
    assert!(users.used.lock().unwrap().iter().all(inside));
    phys.offline_section(section(3), &users).unwrap();
    phys.offline_section(section(4), &users).unwrap();
    phys.remove_memory(sections(3, 5)).unwrap();
    for (at, &pfn) in users.used.lock().unwrap().iter().enumerate() {
        assert!(!inside(&pfn));
        assert_eq!(phys.content(pfn).load_u64(0), at as u64);
        drop(phys.adopt(pfn));
    }
    testing::assert_all_free(&phys);
}

#[test]
fn owners_are_remembered_in_added_memory_and_when_it_goes() {
    let options = BootOptions {
        page_owner: true,
        ..options()
    };
    let phys = boot_nodes(1, options);
    let users = Users {
        phys: &phys,
        used: Mutex::default(),
    };
    let owned = || {
        let mut all = Vec::new();
        phys.each_owned(&mut |folio| all.push((folio.pfn, folio.owner, folio.moved)));
        all.retain(|(_, owner, _)| *owner != Owner::Records);
        all
    };
    phys.set_auto_online(Some(OnlineTo::Movable));
    phys.add_memory(NewMemory::new(sections(3, 4))).unwrap();
    let frame = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
    let pfn = frame.into_pfn();
    assert!(sections(3, 4).contains(pfn));
    users.used.lock().unwrap().push(pfn);
    assert_eq!(owned(), [(pfn, Owner::Test, false)]);
    phys.offline_section(section(3), &users).unwrap();
    let pfn = users.used.lock().unwrap()[0];
    assert_eq!(owned(), [(pfn, Owner::Test, true)]);
    drop(phys.adopt(pfn));
    assert_eq!(owned(), []);
    phys.remove_memory(sections(3, 4)).unwrap();
    testing::assert_all_free(&phys);
}

#[test]
fn memory_of_boot_is_removed_with_its_records_and_comes_back() {
    let phys = boot();
    let before = shape(&phys);
    phys.offline_section(section(1), &Nobody).unwrap();
    phys.remove_memory(sections(1, 2)).unwrap();
    let without = shape(&phys);
    assert_eq!(
        without.total,
        before.total - SECTION + 512 + 2,
        "its records are free"
    );
    assert!(phys.peek_record(section(1)).is_none() && phys.peek_record(section(2)).is_some());
    phys.add_memory(NewMemory::new(sections(1, 2))).unwrap();
    phys.online_section(section(1), OnlineTo::Default).unwrap();
    assert_eq!(phys.stats().total, without.total + SECTION);
    let huge = AllocRequest::kernel(Owner::Test).order(Order::PMD).silent();
    let held: Vec<_> = core::iter::from_fn(|| phys.alloc(huge).ok()).collect();
    assert!(held.iter().any(|frame| sections(1, 2).contains(frame.pfn())));
    drop(held);
    testing::audit(&phys);
}

/// What `zone_for_pfn_range()` and `valid_zones_show()` say of such a machine.
#[test]
fn the_zone_that_memory_goes_to_depends_on_its_neighbours() {
    use ZoneKind::{Dma32, Movable, Normal};
    let phys = boot();
    let valid = |at| phys.valid_zones(section(at)).collect::<Vec<_>>();
    assert_eq!(valid(0), [], "in DMA and DMA32");
    assert_eq!(valid(1), [Dma32]);
    phys.add_memory(NewMemory::new(sections(3, 6))).unwrap();
    assert_eq!(valid(3), [Normal, Movable], "beyond the span of DMA32");
    phys.online_section(section(5), OnlineTo::Movable).unwrap();
    phys.online_section(section(3), OnlineTo::Kernel).unwrap();
    assert_eq!((valid(3), valid(5)), (vec![Normal], vec![Movable]));
    assert_eq!(valid(4), [Normal, Movable]);
    phys.offline_section(section(3), &Nobody).unwrap();
    phys.online_section(section(3), OnlineTo::Movable).unwrap();
    assert_eq!(valid(4), [Movable, Normal], "inside the span of Movable");
    phys.online_section(section(4), OnlineTo::Default).unwrap();
    assert_eq!(kind_of(&phys, section(4)), Movable);
    testing::audit(&phys);
}

#[test]
fn memory_belongs_to_the_node_that_it_is_added_to() {
    let phys = boot_nodes(2, options());
    let on_one = NewMemory {
        node: NodeId(1),
        ..NewMemory::new(sections(4, 5))
    };
    phys.add_memory(on_one).unwrap();
    phys.online_section(section(4), OnlineTo::Kernel).unwrap();
    let zone = phys.zones().get(phys.zone_of(section(4)).unwrap());
    assert_eq!((zone.kind(), zone.node()), (ZoneKind::Normal, NodeId(1)));
    let only = AllocRequest::movable(Owner::Test)
        .silent()
        .node(NodeChoice::Only(NodeId(1)));
    assert!(
        sections(4, 5).contains(phys.alloc(only).unwrap().pfn()),
        "the highest zone first"
    );
}

#[test]
fn nonsense_is_refused() {
    let phys = boot();
    let add =
        |first: u64, end: u64| phys.add_memory(NewMemory::new(PfnRange::new(Pfn::new(first), Pfn::new(end))));
    assert_eq!(add(3 * SECTION, 3 * SECTION), Err(AddError::Unaligned));
    assert_eq!(add(3 * SECTION + 512, 4 * SECTION), Err(AddError::Unaligned));
    assert_eq!(add(6 * SECTION, 8 * SECTION), Err(AddError::TooHigh));
    assert_eq!(add(5 * SECTION, 7 * SECTION), Err(AddError::NotThisRam));
    assert_eq!(add(SECTION, 2 * SECTION), Err(AddError::Exists));
    assert_eq!(
        add(2 * SECTION, 4 * SECTION),
        Err(AddError::Exists),
        "the last frames of boot"
    );
    let nowhere = NewMemory {
        node: NodeId(1),
        ..NewMemory::new(sections(3, 4))
    };
    assert_eq!(phys.add_memory(nowhere), Err(AddError::NoNode));
    assert_eq!(
        phys.online_section(section(3), OnlineTo::Default),
        Err(SectionError::Absent)
    );
    assert_eq!(
        phys.offline_section(section(100), &Nobody),
        Err(SectionError::Absent)
    );
    assert_eq!(phys.remove_memory(sections(4, 3)), Err(RemoveError::Unaligned));
    let errno = [
        AddError::Exists.errno(),
        AddError::TooHigh.errno(),
        RemoveError::Online.errno(),
    ];
    assert_eq!(errno, [Errno::EXIST, Errno::RANGE, Errno::BUSY]);
}

/// What is mapped, and how often someone may still map.
struct Mapper {
    mapped: Mutex<Vec<PhysRange>>,
    records: Mutex<Vec<(PfnRange, PfnRange)>>,
    refuse: Mutex<bool>,
    records_most: Mutex<u64>,
}

impl Mapper {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mapped: Mutex::default(),
            records: Mutex::default(),
            refuse: Mutex::default(),
            records_most: Mutex::new(u64::MAX),
        })
    }
}

impl MapMemory for Mapper {
    fn map(&self, range: PhysRange) -> Result<(), Errno> {
        if *self.refuse.lock().unwrap() {
            return Err(Errno::NOMEM);
        }
        self.mapped.lock().unwrap().push(range);
        Ok(())
    }

    fn prepare_unmap(&self, _: PhysRange) -> Result<(), Errno> {
        match *self.refuse.lock().unwrap() {
            true => Err(Errno::NOMEM),
            false => Ok(()),
        }
    }

    fn unmap(&self, range: PhysRange) {
        self.mapped.lock().unwrap().retain(|mapped| *mapped != range);
    }

    fn map_records(&self, frames: PfnRange, records: PfnRange) -> Result<(), Errno> {
        let mut shown = self.records.lock().unwrap();
        if shown.len() as u64 == *self.records_most.lock().unwrap() {
            return Err(Errno::NOMEM);
        }
        shown.push((frames, records));
        Ok(())
    }

    fn unmap_records(&self, frames: PfnRange) {
        self.records.lock().unwrap().retain(|shown| shown.0 != frames);
    }
}

#[test]
fn memory_is_mapped_as_long_as_it_is_there() {
    let phys = boot();
    let mapper = Mapper::new();
    phys.set_memory_mapper(Some(mapper.clone()));
    let mapped = || mapper.mapped.lock().unwrap().len();
    let new = NewMemory::new(sections(3, 5));
    phys.fail_at(3);
    assert_eq!(phys.add_memory(new), Err(AddError::OutOfMemory));
    assert_eq!(mapped(), 0);
    phys.add_memory(new).unwrap();
    assert_eq!(mapped(), 1);
    assert_eq!(mapper.records.lock().unwrap().len(), 2);
    *mapper.refuse.lock().unwrap() = true;
    let refused = Err(RemoveError::NotUnmapped(Errno::NOMEM));
    assert_eq!(phys.remove_memory(new.frames), refused);
    assert_eq!(phys.section_state(section(4)), SectionState::Offline);
    assert_eq!((mapped(), mapper.records.lock().unwrap().len()), (1, 2));
    *mapper.refuse.lock().unwrap() = false;
    phys.remove_memory(new.frames).unwrap();
    assert_eq!((mapped(), mapper.records.lock().unwrap().len()), (0, 0));
    *mapper.refuse.lock().unwrap() = true;
    assert_eq!(phys.add_memory(new), Err(AddError::NotMapped(Errno::NOMEM)));
    assert_eq!(phys.section_state(section(3)), SectionState::Absent);
    testing::assert_all_free(&phys);
}

#[test]
fn records_are_shown_where_they_lie_or_nothing_is_added() {
    let phys = boot();
    let mapper = Mapper::new();
    phys.set_memory_mapper(Some(mapper.clone()));
    let shown = || mapper.records.lock().unwrap().clone();
    for records in [RecordsIn::OldMemory, RecordsIn::NewMemory] {
        let new = NewMemory {
            records,
            ..NewMemory::new(sections(3, 5))
        };
        // The second section's are refused, and the first one's go again.
        *mapper.records_most.lock().unwrap() = 1;
        assert_eq!(phys.add_memory(new), Err(AddError::NotMapped(Errno::NOMEM)));
        assert_eq!((shown(), mapper.mapped.lock().unwrap().len()), (vec![], 0));
        *mapper.records_most.lock().unwrap() = u64::MAX;
        phys.add_memory(new).unwrap();
        let homes = phys.record_homes();
        let homes: Vec<_> = homes.filter(|(frames, _)| frames.start >= section(3)).collect();
        assert_eq!(shown(), homes);
        let within = homes.iter().all(|(frames, home)| frames.covers(*home));
        assert_eq!(within, records == RecordsIn::NewMemory);
        phys.remove_memory(new.frames).unwrap();
        assert_eq!(shown(), []);
    }
    testing::assert_all_free(&phys);
}

/// A naive model: each section's state, and where its records are.
#[test]
fn random_plugging_agrees_with_a_naive_model() {
    let phys = boot();
    let before = shape(&phys);
    let mut model = vec![(SectionState::Absent, RecordsIn::OldMemory); ROOM as usize];
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..120 {
        let at = 3 + random(ROOM - 3);
        let (state, records) = model[at as usize];
        let (pfn, frames) = (section(at), sections(at, at + 1));
        match random(4) {
            0 => {
                let records = [RecordsIn::OldMemory, RecordsIn::NewMemory][random(2) as usize];
                let new = NewMemory {
                    records,
                    ..NewMemory::new(frames)
                };
                let expected = match state {
                    SectionState::Absent => Ok(()),
                    _ => Err(AddError::Exists),
                };
                assert_eq!(phys.add_memory(new), expected);
                if expected.is_ok() {
                    model[at as usize] = (SectionState::Offline, records);
                }
            }
            1 => {
                let to = [OnlineTo::Default, OnlineTo::Kernel, OnlineTo::Movable][random(3) as usize];
                let expected = match state {
                    SectionState::Absent => Err(SectionError::Absent),
                    SectionState::Online => Err(SectionError::Already),
                    SectionState::Offline => Ok(()),
                };
                assert_eq!(phys.online_section(pfn, to), expected);
                if expected.is_ok() {
                    model[at as usize].0 = SectionState::Online;
                }
            }
            2 => match (state, phys.offline_section(pfn, &Nobody)) {
                (SectionState::Online, Ok(())) => model[at as usize].0 = SectionState::Offline,
                // Records of other sections may lie in it.
                (SectionState::Online, error) => {
                    assert!(matches!(error, Err(SectionError::Reserved(_))), "{error:?}");
                    assert_eq!(records, model[at as usize].1);
                }
                (SectionState::Offline, result) => assert_eq!(result, Err(SectionError::Already)),
                (SectionState::Absent, result) => assert_eq!(result, Err(SectionError::Absent)),
            },
            _ => {
                let expected = match state {
                    SectionState::Absent => Err(RemoveError::Absent),
                    SectionState::Online => Err(RemoveError::Online),
                    SectionState::Offline => Ok(()),
                };
                assert_eq!(phys.remove_memory(frames), expected);
                if expected.is_ok() {
                    model[at as usize].0 = SectionState::Absent;
                }
            }
        }
        let seen = shape(&phys);
        let online = |&&(state, _): &&(SectionState, _)| state == SectionState::Online;
        let more: u64 = model
            .iter()
            .filter(online)
            .map(|&(_, records)| SECTION - if records == RecordsIn::NewMemory { 512 } else { 0 })
            .sum();
        assert_eq!(seen.total, before.total + more);
        let states: Vec<_> = model.iter().map(|(state, _)| *state).collect();
        assert_eq!(seen.states[3..], states[3..]);
    }
}
