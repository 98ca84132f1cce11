//! Windows on a machine without TLBs.
#![allow(clippy::unwrap_used)]

extern crate std;

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::KernelProt;
use foliant_paging::PageTables;
use foliant_phys::testing::{assert_all_free, boot_with};
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;
use foliant_units::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};

use super::*;

const WINDOW: VirtAddr = VirtAddr::new(0xffff_fe00_0000_0000);
const PAGE: u64 = PAGE_SIZE as u64;
const DIRECT: DirectMap = DirectMap {
    start: VirtAddr::new(0xffff_8880_0000_0000),
    end: Pfn::new(2),
};

struct World {
    kmap: Kmap<TestPlatform>,
    locals: LocalMaps<TestPlatform>,
    tables: Arc<PageTables<TestPlatform>>,
    phys: Arc<Phys<TestPlatform>>,
    high: Vec<Pfn>,
}

fn world(slots: u64) -> World {
    let phys = boot_with(512, 2, BootOptions::test());
    let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
    let window = VirtRange::new(WINDOW, WINDOW + slots * PAGE);
    let kmap = Kmap::new(&tables, window, DIRECT, Spin).unwrap();
    let locals = LocalMaps::new(&tables, WINDOW + (1 << 21), DIRECT).unwrap();
    let alloc = |_| {
        let frame = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
        frame.into_pfn()
    };
    let high: Vec<Pfn> = (0..40).map(alloc).filter(|&frame| frame >= DIRECT.end).collect();
    World {
        kmap,
        locals,
        tables,
        phys,
        high,
    }
}

#[test]
fn a_frame_of_the_direct_map_needs_no_slot() {
    let world = world(4);
    let at = world.kmap.map(Pfn::new(1));
    assert_eq!(at, DIRECT.start + PAGE);
    assert_eq!(world.kmap.frame(at), Some(Pfn::new(1)));
    assert_eq!(world.kmap.used(), 0);
    world.kmap.unmap(Pfn::new(1)).unwrap();
    let local = world.locals.map(Pfn::new(1), KernelProt::DATA).unwrap();
    assert_eq!((local.start(), world.locals.depth()), (at, 0));
}

#[test]
fn a_frame_has_one_slot_however_many_use_it() {
    let world = world(4);
    let frame = world.high[0];
    let at = world.kmap.map(frame);
    assert_eq!(world.kmap.map(frame), at);
    assert_eq!(world.kmap.frame(at), Some(frame));
    world.kmap.unmap(frame).unwrap();
    assert_eq!(world.kmap.used(), 1);
    world.kmap.unmap(frame).unwrap();
    assert_eq!(world.kmap.used(), 0);
    assert_eq!(world.kmap.unmap(frame), Err(BadUnmap));
    // It is still there for whoever wants it again.
    assert_eq!(world.kmap.map(frame), at);
    world.kmap.unmap(frame).unwrap();
    assert_eq!(world.kmap.unmap(world.high[1]), Err(BadUnmap));
}

#[test]
fn one_flush_frees_all_unused_slots_when_the_window_is_through() {
    let world = world(4);
    world.tables.context().take_flushes();
    let kept = world.kmap.map(world.high[0]);
    for &frame in &world.high[1..7] {
        let at = world.kmap.map(frame);
        assert_eq!(world.kmap.frame(at), Some(frame));
        world.kmap.unmap(frame).unwrap();
    }
    // Three slots, then a flush of those three, then three again.
    let flushes = world.tables.context().take_flushes();
    assert_eq!(flushes.len(), 1);
    assert_eq!(flushes[0].ranges.iter().map(|range| range.len()).sum::<u64>(), 3);
    assert_eq!(world.kmap.frame(kept), Some(world.high[0]));
    world.kmap.flush_unused();
    assert_eq!(world.tables.context().take_flushes().len(), 1);
    assert_eq!(world.kmap.used(), 1);
}

#[test]
fn who_finds_the_window_full_waits_for_an_unmap() {
    let world = world(2);
    world.kmap.map(world.high[0]);
    world.kmap.map(world.high[1]);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| world.kmap.map(world.high[2]));
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(!waiter.is_finished());
        let freed = world.kmap.frame(WINDOW + PAGE).unwrap();
        world.kmap.unmap(freed).unwrap();
        assert_eq!(waiter.join().unwrap(), WINDOW + PAGE);
    });
    assert_eq!(world.kmap.frame(WINDOW + PAGE), Some(world.high[2]));
}

#[test]
fn threads_share_a_small_window() {
    let world = world(3);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let world = &world;
            scope.spawn(move || {
                for round in 0..500 {
                    let frame = world.high[(thread * 7 + round * 3) % world.high.len()];
                    let at = world.kmap.map(frame);
                    assert_eq!(world.kmap.frame(at), Some(frame));
                    world.kmap.unmap(frame).unwrap();
                }
            });
        }
    });
    assert_eq!(world.kmap.used(), 0);
}

#[test]
fn local_maps_nest_and_end() {
    let world = world(1);
    let prot = KernelProt::DATA;
    let frame_at = |at: VirtAddr| crate::mapping::frame_at(&*world.tables, at.page());
    {
        let outer = world.locals.map(world.high[0], prot).unwrap();
        let inner = world.locals.map(world.high[1], prot).unwrap();
        assert_eq!(inner.start(), outer.start() + PAGE);
        assert_eq!(frame_at(outer.start()), Some(world.high[0]));
        assert_eq!(frame_at(inner.start()), Some(world.high[1]));
        drop(inner);
        let again = world.locals.map(world.high[2], prot).unwrap();
        assert_eq!(again.start(), outer.start() + PAGE);
        assert_eq!(world.locals.depth(), 2);
    }
    assert_eq!(world.locals.depth(), 0);
    let platform = world.phys.platform().clone();
    let other = platform.on_cpu(CpuId(1), || {
        world.locals.map(world.high[0], prot).unwrap().start()
    });
    assert_eq!(other, WINDOW + (1 << 21) + 16 * PAGE);
    assert_eq!(frame_at(other), None);
}

#[test]
fn too_many_nested_maps_are_an_error() {
    let world = world(1);
    let map = |&frame| world.locals.map(frame, KernelProt::DATA);
    let maps: Vec<_> = world.high.iter().map(map).collect();
    assert_eq!(maps.iter().filter(|map| map.is_ok()).count(), 16);
    drop(maps);
    assert_eq!(world.locals.depth(), 0);
}

#[test]
fn nothing_is_left_at_the_end() {
    let world = world(2);
    world.kmap.map(world.high[0]);
    for &frame in &world.high {
        drop(world.phys.adopt(frame));
    }
    drop((world.kmap, world.locals, world.tables));
    assert_all_free(&world.phys);
}
