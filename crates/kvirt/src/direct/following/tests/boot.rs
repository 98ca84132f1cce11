//! The direct map goes on where the boot left it.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::direct::{DirectConfig, init_mem_mapping};
use crate::early::EarlyTables;

/// Boots with tables from before there were frames, and goes on with them.
fn from_the_boot<F: KernelFormat>(config: FollowingConfig, first_small: bool) {
    let platform = Machine::new(section(ROOM).base().raw() as usize, 2);
    let mut memblock = Memblock::new();
    memblock.allow_growth(platform.clone());
    let end = section(BOOT + 2) + REST;
    let ram = PhysRange::new(PhysAddr::ZERO, end.base());
    memblock.add(Region::ram(ram, NodeId(0))).unwrap();
    let first = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(0x1_0000));
    memblock.reserve(first).unwrap();
    let mut early = EarlyTables::new(&platform, &mut memblock, 6).unwrap();
    let mut log = String::new();
    let direct = DirectConfig {
        base: config.base,
        end: end.min(config.end),
        largest: config.largest,
        first_small,
    };
    let mapped = {
        let log = &mut Log::new(&mut log);
        init_mem_mapping::<F, _>(&mut early, &mut memblock, direct, log).unwrap()
    };
    let taken = early.taken();
    let phys = Arc::new(Phys::take_over(platform, memblock, options(config)).unwrap());
    let tables = Arc::new(early.kernel_tables::<F>(&phys, mapped.root).unwrap());
    let linked: usize = Level::all().map(|level| tables.tables(level)).sum();
    assert_eq!(linked as u64, taken);
    let map = FollowingMap::of_boot(&tables, config).unwrap();
    let all = |map: &FollowingMap<Machine, F>| Level::all().map(|level| map.mapped(level)).sum::<u64>();
    let booted = Level::all().map(|level| mapped.mapped(level)).sum::<u64>();
    assert_eq!(all(&map), booted);
    assert_eq!(map.mapped(F::GEOMETRY.top()), 0);

    // A section of boot goes, whose tables are the boot's, and comes again.
    let (total, before) = (phys.stats().total, all(&map));
    let part = sections(BOOT, BOOT + 1);
    phys.offline_section(part.start, &Nobody).unwrap();
    phys.remove_memory(part).unwrap();
    assert_eq!(map.virt(part.start.base()), None);
    assert_eq!(before - all(&map), SECTION << 12);
    phys.add_memory(NewMemory::new(part)).unwrap();
    assert_eq!(all(&map), before);
    let at = map.virt(part.start.base() + 77).unwrap();
    assert_eq!(map.phys(at), Some(part.start.base() + 77));
    let mut violations = Vec::new();
    tables.audit(&mut |violation| violations.push(violation));
    assert_eq!(violations, []);
    audit(&phys);

    // What was reserved for tables is the allocator's in the end.
    phys.online_section(part.start, OnlineTo::Default).unwrap();
    let reserved = audit(&phys).reserved;
    drop((map, tables));
    assert!(audit(&phys).reserved < reserved);
    assert!(phys.stats().total > total - SECTION);
    assert_all_free(&phys);
}

#[test]
fn the_map_goes_on_in_the_tables_of_the_boot() {
    from_the_boot::<X86_64>(four(), false);
    from_the_boot::<X86_64La57>(five(), false);
    from_the_boot::<X86Pae>(low(), true);
    from_the_boot::<X86Legacy>(low().largest(Level::PGD), true);
}

#[test]
fn tables_that_are_not_the_boots_are_not_taken() {
    let platform = Machine::new(64 << 20, 1);
    let new = || {
        let mut memblock = Memblock::<Machine>::new();
        let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(64 << 20));
        memblock.add(Region::ram(ram, NodeId(0))).unwrap();
        memblock
    };
    let mut memblock = new();
    let mut early = EarlyTables::new(&platform, &mut memblock, 6).unwrap();
    let root = early.take_one(&mut memblock).unwrap();
    let other = early.take_one(&mut memblock).unwrap();
    // One table twice.
    for index in [3, 5] {
        early.set_entry::<X86_64>(root.base(), index, X86_64::link(other.base(), Level::PGD));
    }
    let phys = Arc::new(Phys::take_over(platform.clone(), memblock, BootOptions::test()).unwrap());
    let twice = early.kernel_tables::<X86_64>(&phys, root.base());
    assert_eq!(twice.err(), Some(Errno::INVAL));

    // Of another machine, and of nobody's.
    let mut memblock = new();
    let far = Machine::new(64 << 20, 1);
    let mut early = EarlyTables::new(&far, &mut memblock, 6).unwrap();
    let root = early.take_one(&mut memblock).unwrap();
    let foreign = early.kernel_tables::<X86_64>(&phys, root.base());
    assert_eq!(foreign.err(), Some(Errno::INVAL));
    let early = EarlyTables::new(&platform, &mut new(), 6).unwrap();
    let nobody = early.kernel_tables::<X86_64>(&phys, Pfn::new(4000).base());
    assert_eq!(nobody.err(), Some(Errno::INVAL));
    assert_all_free(&phys);
}
