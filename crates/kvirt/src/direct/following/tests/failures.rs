//! Nothing is lost when no frame is to be had.
#![allow(clippy::unwrap_used)]

use super::*;

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
