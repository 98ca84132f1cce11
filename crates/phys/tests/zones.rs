//! Zones, nodes and what is kept back, on machines of several shapes.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_phys::boot::{MapEntry, Memblock, MinFree, Region, RegionKind};
use foliant_phys::{
    AllocRequest, BootError, BootOptions, Distances, Effort, MemoryMap, NodeChoice, NodeId, Owner, Phys,
    Watermarks, ZoneKind, ZoneLayout, testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Pfn, PhysAddr, PhysRange};

const MIB: u64 = 1 << 20;

fn entry(start: u64, end: u64, kind: RegionKind, node: u8) -> MapEntry {
    let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
    MapEntry {
        range,
        kind,
        node: NodeId(node),
    }
}

fn boot(entries: &[MapEntry], options: BootOptions) -> Result<Phys<TestPlatform>, BootError> {
    let mut map = MemoryMap::new();
    for &entry in entries {
        map.add(entry).unwrap();
    }
    let end = entries
        .iter()
        .map(|entry| entry.range.end.raw())
        .max()
        .unwrap_or(0);
    Phys::boot(TestPlatform::new(end as usize, 2), &map, options)
}

/// A PC with a hole below 1 MiB, one below 4 GiB, and 64 MiB above.
fn pc() -> Vec<MapEntry> {
    vec![
        entry(0, 0x9fc00, RegionKind::Usable, 0),
        entry(0x9fc00, 0xa0000, RegionKind::Reserved, 0),
        entry(0xf0000, 0x100000, RegionKind::Reserved, 0),
        entry(0x100000, 256 * MIB, RegionKind::Usable, 0),
        entry(0xfffc_0000, 4096 * MIB, RegionKind::Reserved, 0),
        entry(4096 * MIB, 4160 * MIB, RegionKind::Usable, 0),
    ]
}

#[test]
fn a_pc_has_three_zones_and_holes_that_nobody_gets() {
    let phys = boot(
        &pc(),
        BootOptions {
            ram_is_zeroed: true,
            ..BootOptions::default()
        },
    )
    .unwrap();
    let shape: Vec<_> = phys
        .zones()
        .iter()
        .map(|(_, zone)| {
            (
                zone.kind(),
                zone.span().start.raw(),
                zone.span().end.raw(),
                zone.present(),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            (ZoneKind::Dma, 0, 0x1000, 0x1000 - (0x100 - 0x9f)),
            (ZoneKind::Dma32, 0x1000, 0x10000, 0xf000),
            (ZoneKind::Normal, 0x100000, 0x104000, 0x4000),
        ]
    );
    let census = testing::audit(&phys);
    assert_eq!(census.available() + census.reserved, 0x9f + 0xff00 + 0x4000);
    assert!(phys.find_record(Pfn::new(0x9f)).is_none() && phys.find_record(Pfn::new(0x9e)).is_some());
    assert!(phys.find_content(Pfn::new(0x20000)).is_none());
    assert!(phys.zone_of(Pfn::new(0x20000)).is_none());
}

#[test]
fn nothing_below_a_mebibyte_is_given_out() {
    let phys = boot(&pc(), BootOptions::default()).unwrap();
    let low = AllocRequest::kernel(Owner::Test)
        .zone(ZoneKind::Dma)
        .effort(Effort::Reserves)
        .silent();
    let mut taken = Vec::new();
    while let Ok(frame) = phys.alloc(low) {
        assert!((0x100..0x1000).contains(&frame.pfn().raw()));
        taken.push(frame);
    }
    assert!(taken.len() > 0xe00);
}

#[test]
fn watermarks_are_those_that_linux_computes() {
    let phys = boot(
        &pc(),
        BootOptions {
            ram_is_zeroed: true,
            ..BootOptions::default()
        },
    )
    .unwrap();
    let managed: Vec<u64> = phys.zones().iter().map(|(_, zone)| zone.managed()).collect();
    let lowmem: u64 = managed.iter().sum();
    let min_kib = (lowmem * 4 * 16).isqrt();
    for (_, zone) in phys.zones().iter() {
        let min = min_kib / 4 * zone.managed() / lowmem;
        let step = (min / 4).max(zone.managed() / 1000);
        let expected = Watermarks {
            min,
            low: min + step,
            high: min + 2 * step,
            promo: min + 3 * step,
        };
        assert_eq!(zone.watermarks(), expected);
    }
    let (_, dma) = phys.zones().iter().next().unwrap();
    let above = managed[1] + managed[2];
    assert_eq!(
        dma.lowmem_reserve(),
        [
            0,
            managed[1] / 256,
            above / 256,
            above / 256,
            above / 256,
            above / 256
        ]
    );
}

#[test]
fn requests_fall_back_to_lower_zones_and_leave_the_reserve() {
    let options = BootOptions {
        min_free: MinFree::Kib(0),
        watermark_scale: 0,
        ..BootOptions::test()
    };
    let phys = boot(
        &pc(),
        BootOptions {
            reserve_ratio: [256, 256, 32, 0],
            ..options
        },
    )
    .unwrap();
    let mut first_of = Vec::new();
    let mut held = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).silent()) {
        let kind = phys.zones().get(phys.zone_of(frame.pfn()).unwrap()).kind();
        if first_of.last() != Some(&kind) {
            first_of.push(kind);
        }
        held.push(frame);
    }
    assert_eq!(first_of, [ZoneKind::Normal, ZoneKind::Dma32, ZoneKind::Dma]);
    let dma_left = phys.alloc(AllocRequest::kernel(Owner::Test).zone(ZoneKind::Dma));
    assert!(dma_left.is_ok(), "kept for those who can use nothing else");
}

#[test]
fn the_movable_zone_holds_only_movable_frames() {
    let options = BootOptions {
        movable: 32 * MIB,
        ..BootOptions::test()
    };
    let phys = boot(&[entry(0, 128 * MIB, RegionKind::Usable, 0)], options).unwrap();
    let kind = |pfn| phys.zones().get(phys.zone_of(pfn).unwrap()).kind();
    let program = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
    assert_eq!(kind(program.pfn()), ZoneKind::Movable);
    let mut kernel = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).silent()) {
        assert_ne!(kind(frame.pfn()), ZoneKind::Movable);
        kernel.push(frame);
    }
    let (_, movable) = phys.zones().iter().last().unwrap();
    assert_eq!(
        (movable.kind(), movable.present()),
        (ZoneKind::Movable, 32 * MIB / 4096)
    );
    assert_eq!(movable.managed(), movable.present(), "the tables lie elsewhere");
}

#[test]
fn nodes_are_asked_by_preference_and_by_order() {
    let entries = [
        entry(0, 64 * MIB, RegionKind::Usable, 0),
        entry(64 * MIB, 128 * MIB, RegionKind::Usable, 1),
    ];
    let phys = boot(&entries, BootOptions::test()).unwrap();
    let node = |pfn| phys.zones().get(phys.zone_of(pfn).unwrap()).node();
    let on = |choice| phys.alloc(AllocRequest::movable(Owner::Test).silent().node(choice));
    assert_eq!(node(on(NodeChoice::Prefer(NodeId(1))).unwrap().pfn()), NodeId(1));
    assert_eq!(node(on(NodeChoice::Local).unwrap().pfn()), NodeId(0));
    let mut held = Vec::new();
    while let Ok(frame) = on(NodeChoice::Only(NodeId(1))) {
        assert_eq!(node(frame.pfn()), NodeId(1));
        held.push(frame);
    }
    assert_eq!(node(on(NodeChoice::Prefer(NodeId(1))).unwrap().pfn()), NodeId(0));
    drop(held);
    testing::assert_all_free(&phys);
}

#[test]
fn the_nearest_node_helps_out_first() {
    let entries = [0, 1, 2].map(|node: u8| {
        let start = u64::from(node) * 64 * MIB;
        entry(start, start + 64 * MIB, RegionKind::Usable, node)
    });
    let options = BootOptions {
        distances: Distances::default().with(NodeId(0), NodeId(2), 12),
        ..BootOptions::test()
    };
    let phys = boot(&entries, options).unwrap();
    let node = |pfn| phys.zones().get(phys.zone_of(pfn).unwrap()).node().0;
    let request = AllocRequest::movable(Owner::Test)
        .silent()
        .node(NodeChoice::Prefer(NodeId(0)));
    let mut asked = Vec::new();
    let mut held = Vec::new();
    while let Ok(frame) = phys.alloc(request) {
        if asked.last() != Some(&node(frame.pfn())) {
            asked.push(node(frame.pfn()));
        }
        held.push(frame);
    }
    assert_eq!(asked, [0, 2, 1]);
}

#[test]
fn a_32_bit_machine_keeps_its_own_data_out_of_highmem() {
    let highmem = Pfn::new(24 * MIB / 4096);
    let options = BootOptions {
        zones: ZoneLayout::I386 { highmem },
        ..BootOptions::test()
    };
    let phys = boot(&[entry(0, 64 * MIB, RegionKind::Usable, 0)], options).unwrap();
    let kinds: Vec<_> = phys.zones().iter().map(|(_, zone)| zone.kind()).collect();
    assert_eq!(kinds, [ZoneKind::Dma, ZoneKind::Normal, ZoneKind::HighMem]);
    let program = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
    assert!(program.pfn() >= highmem);
    let mut kernel = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).silent()) {
        assert!(frame.pfn() < highmem);
        kernel.push(frame);
    }
}

#[test]
fn taking_a_block_from_another_mobility_raises_the_levels_for_a_while() {
    let options = BootOptions {
        watermark_boost: 15_000,
        min_free: MinFree::Kib(4096),
        ..BootOptions::test()
    };
    let phys = boot(&[entry(0, 16 * MIB, RegionKind::Usable, 0)], options).unwrap();
    let movable = AllocRequest::movable(Owner::Test)
        .effort(Effort::Reserves)
        .silent();
    let held: Vec<_> = core::iter::from_fn(|| phys.alloc(movable).ok()).collect();
    let (_, zone) = phys.zones().iter().next().unwrap();
    assert_eq!(zone.boost(), 0);
    let (keep, free): (Vec<_>, Vec<_>) = held.into_iter().partition(|frame| frame.pfn().raw() % 8 == 0);
    drop(free);
    phys.drain_all();
    let stray = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
    assert_eq!(zone.boost(), 512, "one block");
    zone.drop_boost();
    assert_eq!(zone.boost(), 0);
    drop((keep, stray));
    testing::assert_all_free(&phys);
}

#[test]
fn what_memblock_reserved_is_never_free() {
    let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(32 * MIB));
    let mut memblock = Memblock::new();
    memblock.add(Region::ram(ram, NodeId(0))).unwrap();
    let kernel = PhysRange::new(PhysAddr::new(16 * MIB + 100), PhysAddr::new(18 * MIB + 100));
    memblock.reserve(kernel).unwrap();
    let phys = Phys::take_over(
        TestPlatform::<true>::new(32 << 20, 1),
        memblock,
        BootOptions::test(),
    )
    .unwrap();
    let mut held = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).silent()) {
        assert!(!(0x1000..=0x1200).contains(&frame.pfn().raw()), "{frame:?}");
        held.push(frame);
    }
    testing::audit(&phys);
}

#[test]
fn hopeless_maps_are_refused() {
    let test = BootOptions::test;
    assert_eq!(
        boot(&[entry(0, MIB, RegionKind::Reserved, 0)], test()).err(),
        Some(BootError::NoMemory)
    );
    assert_eq!(
        boot(&[entry(0, 4096, RegionKind::Usable, 0)], test()).err(),
        Some(BootError::TooSmall)
    );
    let odd = [entry(0, MIB, RegionKind::Usable, 9)];
    assert_eq!(boot(&odd, test()).err(), Some(BootError::TooManyNodes));
}
