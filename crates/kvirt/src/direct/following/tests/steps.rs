//! The direct map follows memory as a naive list of pages does.
#![allow(clippy::unwrap_used)]

use super::*;

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
    let splits = [Level::PMD, Level::PUD].map(|level| world.map.splits(level));
    assert_eq!(splits, [0, 1]);
    let told = crate::KernelMemory::default().with_direct_map(&world.map);
    assert_eq!(told.direct_splits, [0, 1]);
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

/// A driver that needs nothing.
struct Driver;

impl DeviceOps for Driver {
    fn freed(&self, _: Pfn, _: Order) {}
}

#[test]
fn devices_memory_is_shown_if_cpus_reach_it() {
    let mut world = World::<X86_64>::new(four());
    let bytes = |map: &FollowingMap<Machine>| Level::all().map(|level| map.mapped(level)).sum::<u64>();
    let before = bytes(&world.map);
    // Half a section and a block, beside whole ones with their own records.
    let part = PfnRange::new(section(4) + SECTION / 2 - 512, section(5));
    let devices = [
        (part, DeviceKind::Private, RecordsIn::OldMemory, 0),
        (part, DeviceKind::Generic, RecordsIn::OldMemory, part.len() << 12),
        (
            sections(8, 10),
            DeviceKind::FsDax,
            RecordsIn::NewMemory,
            256 << 20,
        ),
    ];
    for (frames, kind, records, shown) in devices {
        let memory = DeviceMemory {
            records,
            ops: Some(Arc::new(Driver)),
            ..DeviceMemory::new(frames, kind)
        };
        let mut failed = 0;
        let device = loop {
            world.phys.fail_at(failed + 1);
            match world.phys.map_device(memory.clone()) {
                Ok(device) => break device,
                Err(DeviceError::OutOfMemory | DeviceError::NotShown(Errno::NOMEM)) => failed += 1,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(bytes(&world.map), before);
            world.check_records();
        };
        world.phys.fail_at(0);
        assert_eq!(bytes(&world.map) - before, shown);
        assert_eq!(world.map.virt(frames.start.base()).is_some(), shown != 0);
        world.check_records();
        let refused = world.add(NewMemory::new(sections(8, 9)));
        assert_eq!(refused.is_err(), frames.start >= section(8));
        if refused.is_ok() {
            world.remove(sections(8, 9)).unwrap();
        }
        world.phys.unmap_device(&device).unwrap();
        assert_eq!(bytes(&world.map), before);
        world.check();
    }
    world.end();
}
