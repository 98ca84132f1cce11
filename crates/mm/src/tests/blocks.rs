//! Faults that fill a block of pages, and what becomes of its parts.

use std::sync::Arc;

use foliant_phys::{AllocRequest, Effort, Owner, testing};
use foliant_uapi::{Advice, MapFlags, MlockFlags, MremapFlags, Prot};
use foliant_units::{Order, Pfn};

use super::failures::fail_each;
use super::world::{P, PAGE, RW, World, addr, map, peek, read, rss, touch, vpn, write};
use crate::fault::{Access, Outcome};
use crate::{Defrag, Global, MoveRequest, SizeSetting, Space, ThpEvent, ThpMode};

const PRIVATE: MapFlags = MapFlags::PRIVATE;
/// 64 KiB.
const RUN: Order = match Order::new(4) {
    Some(order) => order,
    None => Order::ZERO,
};

fn order(raw: u8) -> Order {
    Order::new(raw).expect("an order")
}

/// A machine whose faults fill the sizes of these orders wherever they fit.
fn world_of(frames: u64, orders: &[u8]) -> World {
    let world = World::new(frames);
    for &raw in orders {
        assert!(world.env.thp().set_size(order(raw), SizeSetting::Always));
    }
    world
}

/// A space with 64 pages of which a block of sixteen was filled.
fn filled(world: &World) -> Arc<Space<P>> {
    let space = world.space();
    map(&space, 0, 64, RW, PRIVATE, None);
    assert_eq!(write(&space, 5, 5), [Outcome::Anonymous]);
    space
}

/// Frames of programs, as their records tell.
fn anonymous(world: &World) -> usize {
    testing::audit(&world.phys);
    let records = (0..8192).filter_map(|pfn| world.phys.find_record(Pfn::new(pfn)));
    records
        .filter(|record| record.refs.get() > 0 && record.owner() == Owner::Anonymous)
        .count()
}

fn events(world: &World, raw: u8) -> (u64, u64) {
    let of = |event| world.env.thp().events(order(raw), event);
    (of(ThpEvent::Filled), of(ThpEvent::Fallback))
}

#[test]
fn one_fault_fills_an_aligned_block_of_zeroes() {
    let world = world_of(512, &[4]);
    let space = filled(&world);
    assert_eq!(rss(&space), (16, 0, 0));
    for at in 0..16 {
        assert_eq!(touch(&space, addr(at), Access::Write), Ok(vec![]), "page {at}");
        assert_eq!(peek(&space, at), if at == 5 { 5 } else { 0 });
    }
    assert_eq!(space.count().minor_faults, 1);
    let frame = |at| space.tables().get(vpn(at)).frame();
    assert!(frame(0).raw().is_multiple_of(16));
    assert!((0..16).all(|at| frame(at) == frame(0) + at), "side by side");
    assert_eq!(write(&space, 16, 1), [Outcome::Anonymous], "the next block");
    assert_eq!(events(&world, 4), (2, 0));
    drop(space);
    world.check();
}

#[test]
fn the_largest_empty_block_that_fits_is_filled() {
    let world = world_of(2048, &[2, 3, 4, 8]);
    let space = world.space();
    // One page before an aligned block of sixteen, 12 pages in it.
    map(&space, 15, 13, RW, PRIVATE, None);
    write(&space, 15, 1);
    assert_eq!(rss(&space), (1, 0, 0), "no room around it");
    write(&space, 20, 1);
    assert_eq!(rss(&space), (9, 0, 0), "sixteen do not fit");
    write(&space, 24, 1);
    assert_eq!(rss(&space), (13, 0, 0), "nor do eight");

    // Even the page of zeroes and a guard are entries.
    map(&space, 64, 16, RW, PRIVATE, None);
    assert_eq!(read(&space, 78), (0, vec![Outcome::ZeroPage]));
    write(&space, 64, 1);
    assert_eq!(rss(&space), (21, 0, 0), "eight beside it");
    write(&space, 78, 1);
    assert_eq!(rss(&space), (22, 0, 0), "what was read is filled alone");
    space
        .madvise(addr(72), PAGE, Advice::GuardInstall.raw())
        .expect("a guard");
    write(&space, 73, 1);
    assert_eq!(rss(&space), (23, 0, 0));

    map(&space, 512, 512, RW, PRIVATE, None);
    write(&space, 700, 1);
    assert_eq!(rss(&space), (23 + 256, 0, 0));
    drop(space);
    world.check();
}

#[test]
fn advice_and_the_process_have_a_say() {
    let world = world_of(512, &[]);
    let thp = world.env.thp();
    assert!(thp.set_size(RUN, SizeSetting::Madvise));
    let space = world.space();
    let touched = |advice: Option<Advice>| {
        map(&space, 0, 16, RW, PRIVATE, None);
        if let Some(advice) = advice {
            space.madvise(addr(0), 16 * PAGE, advice.raw()).expect("advised");
        }
        let eligible = !space
            .thp_orders(&space.vmas().get(vpn(0)).expect("mapped").clone())
            .is_empty();
        write(&space, 3, 1);
        let (pages, ..) = rss(&space);
        assert_eq!(eligible, pages == 16, "THPeligible tells");
        pages
    };
    assert_eq!(touched(None), 1);
    assert_eq!(touched(Some(Advice::HugePage)), 16);
    assert_eq!(touched(Some(Advice::NoHugePage)), 1);

    thp.set_size(RUN, SizeSetting::Inherit);
    assert_eq!(touched(Some(Advice::HugePage)), 1);
    thp.set_global(Global::Madvise);
    assert_eq!(touched(Some(Advice::HugePage)), 16);
    thp.set_global(Global::Always);
    assert_eq!(touched(None), 16);

    space.set_thp_mode(ThpMode::Advised);
    assert_eq!(touched(None), 1);
    assert_eq!(touched(Some(Advice::HugePage)), 16);
    space.set_thp_mode(ThpMode::Off);
    assert_eq!(touched(Some(Advice::HugePage)), 1);
    let child = space.fork().expect("room");
    assert_eq!(child.thp_mode(), ThpMode::Off);
    drop((space, child));
    world.check();
}

#[test]
fn parts_of_a_block_are_shared_and_copied_one_by_one() {
    let world = world_of(512, &[4]);
    let parent = filled(&world);
    let child = parent.fork().expect("room");
    assert_eq!((rss(&parent), rss(&child)), ((16, 0, 0), (16, 0, 0)));
    assert_eq!(write(&parent, 5, 50), [Outcome::CopyOnWrite]);
    assert_eq!(write(&child, 6, 60), [Outcome::CopyOnWrite]);
    assert_eq!((peek(&parent, 5), peek(&child, 5)), (50, 5));
    assert_eq!((peek(&parent, 6), peek(&child, 6)), (0, 60));
    assert_eq!(anonymous(&world), 18);
    drop(parent);
    assert_eq!(write(&child, 7, 70), [Outcome::Reused]);
    drop(child);
    world.check();
}

#[test]
fn what_is_unmapped_or_discarded_of_a_block_is_free_at_once() {
    let world = world_of(512, &[4]);
    let space = filled(&world);
    let held = || anonymous(&world);
    space.munmap(addr(0), 3 * PAGE).expect("unmapped");
    assert_eq!((rss(&space), held()), ((13, 0, 0), 13));
    space
        .madvise(addr(8), 8 * PAGE, Advice::DontNeed.raw())
        .expect("discarded");
    assert_eq!((rss(&space), held()), ((5, 0, 0), 5));
    assert_eq!(write(&space, 9, 9), [Outcome::Anonymous]);
    assert_eq!(
        rss(&space),
        (6, 0, 0),
        "a block that has entries is filled page by page"
    );

    space.mprotect(addr(4), PAGE, Prot::READ).expect("protected");
    assert!(touch(&space, addr(4), Access::Write).is_err());
    let moved = space.mremap(MoveRequest {
        addr: addr(5),
        old_len: 2 * PAGE,
        new_len: 2 * PAGE,
        flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
        new_addr: addr(800),
    });
    assert!(moved.is_ok());
    assert_eq!((peek(&space, 800), peek(&space, 9), held()), (5, 9, 6));
    drop(space);
    world.check();
}

#[test]
fn population_and_locking_fill_blocks_too() {
    let world = world_of(512, &[4]);
    let space = world.space();
    map(&space, 0, 40, RW, PRIVATE | MapFlags::POPULATE, None);
    assert_eq!((rss(&space), space.count().minor_faults), ((40, 0, 0), 2 + 8));
    map(&space, 64, 32, RW, PRIVATE, None);
    space
        .mlock(addr(64), 32 * PAGE, MlockFlags::empty())
        .expect("locked");
    assert_eq!((rss(&space), space.count().minor_faults), ((72, 0, 0), 12));
    drop(space);
    world.check();
}

#[test]
fn without_memory_in_one_piece_smaller_blocks_and_pages_are_filled() {
    let world = world_of(512, &[2, 4]);
    world.env.thp().set_defrag(Defrag::Never);
    let space = world.space();
    map(&space, 0, 64, RW, PRIVATE, None);
    write(&space, 63, 1);
    assert_eq!(events(&world, 4), (1, 0));

    // Everything is taken, and every second frame comes back.
    let greedy = AllocRequest::kernel(Owner::Test).effort(Effort::Reserves);
    let mut taken = std::vec::Vec::new();
    while let Ok(frame) = world.phys.alloc(greedy.silent()) {
        taken.push(frame);
    }
    let free: std::vec::Vec<Pfn> = taken.iter().map(|frame| frame.pfn()).collect();
    taken.retain(|frame| frame.pfn().raw() % 2 == 0);
    assert_eq!(write(&space, 0, 7), [Outcome::Anonymous]);
    assert_eq!(rss(&space), (17, 0, 0));
    assert_eq!((events(&world, 4), events(&world, 2)), ((1, 1), (0, 1)));

    // A piece of four is better than nothing.
    let is_whole =
        |start: &&Pfn| start.raw().is_multiple_of(4) && (0..4).all(|at| free.contains(&(**start + at)));
    let four = *free.iter().find(is_whole).expect("one of many");
    taken.retain(|frame| !(four.raw()..four.raw() + 4).contains(&frame.pfn().raw()));
    assert_eq!(write(&space, 16, 7), [Outcome::Anonymous]);
    assert_eq!((events(&world, 4), events(&world, 2)), ((1, 2), (1, 1)));
    assert_eq!(rss(&space), (21, 0, 0));
    drop((space, taken));
    world.check();
}

#[test]
fn whichever_allocation_of_a_block_fails_nothing_is_lost() {
    let failures = fail_each(
        |world| {
            for raw in [2, 4] {
                world.env.thp().set_size(order(raw), SizeSetting::Always);
            }
            let space = world.space();
            map(&space, 0, 64, RW, PRIVATE, None);
            space
        },
        |_, space| {
            let stored = space.copy_out(addr(15), &[9; 2 * PAGE as usize]).is_ok();
            if stored {
                assert_eq!((peek(space, 15), peek(space, 16)), (9, 9));
            }
            // One failure costs a size, and no memory.
            let (pages, ..) = rss(space);
            assert!([32, 20, 16, 0].contains(&pages), "{pages} pages");
            stored
        },
    );
    assert_eq!(failures, 3 + 2, "three tables and two blocks");
}
