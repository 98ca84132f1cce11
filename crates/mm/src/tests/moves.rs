//! Frames that move while programs use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::vec::Vec;

use foliant_phys::{AllocRequest, Effort, Event, Migrator, Moved, NodeId, Owner, testing};
use foliant_platform::CpuId;
use foliant_uapi::{Advice, MapFlags, MremapFlags, Prot};
use foliant_units::{Order, Pfn};

use super::world::{P, PAGE, RW, TestFile, World, addr, map, open, peek, read, rss, touch, vpn, write};
use crate::fault::{Access, Outcome};
use crate::{MoveRequest, Object, Space};

const PRIVATE: MapFlags = MapFlags::PRIVATE;
const SHARED: MapFlags = MapFlags::SHARED;

/// The frame that a page shows.
fn frame(space: &Space<P>, at: u64) -> Pfn {
    let entry = space.tables().get(vpn(at));
    assert!(entry.has_frame(), "page {at} is {entry:?}");
    entry.frame()
}

/// Tries to move a frame anywhere else; says to where.
fn move_away(world: &World, from: Pfn) -> (Moved, Pfn) {
    let request = AllocRequest::movable(world.phys.record(from).owner());
    let to = world
        .phys
        .alloc(request.effort(Effort::NoWait))
        .expect("room")
        .into_pfn();
    let moved = world
        .phys
        .migrator()
        .expect("of the memory manager")
        .migrate(from, to);
    if moved != Moved::Yes {
        drop(world.phys.adopt(to));
    }
    (moved, to)
}

fn moves(world: &World, space: &Space<P>, at: u64) -> Pfn {
    let from = frame(space, at);
    let (moved, to) = move_away(world, from);
    assert_eq!(moved, Moved::Yes, "page {at}");
    assert_eq!(frame(space, at), to);
    to
}

#[test]
fn a_private_frame_moves_with_its_content_bits_and_rights() {
    let world = World::new(128);
    let space = world.space();
    map(&space, 0, 4, RW, PRIVATE, None);
    write(&space, 0, 10);
    write(&space, 1, 11);
    space.mprotect(addr(1), PAGE, Prot::READ).expect("mprotect");
    write(&space, 2, 12);
    space.mprotect(addr(2), PAGE, Prot::NONE).expect("mprotect");

    for at in 0..3 {
        let before = space.tables().get(vpn(at));
        let to = moves(&world, &space, at);
        let after = space.tables().get(vpn(at));
        assert_eq!((before.flags(), before.key()), (after.flags(), after.key()));
        assert_eq!(world.phys.record(to).maps.get(), 1);
        assert_eq!(world.phys.record(to).refs.get(), 1);
    }
    assert_eq!((peek(&space, 0), peek(&space, 1)), (10, 11));
    assert_eq!(rss(&space), (3, 0, 0));
    // Still its own: neither a fault nor a copy.
    assert_eq!(write(&space, 0, 20), []);
    space.mprotect(addr(1), PAGE, RW).expect("mprotect");
    assert_eq!(write(&space, 1, 21), []);
    space.mprotect(addr(2), PAGE, RW).expect("mprotect");
    assert_eq!(peek(&space, 2), 12);
    drop(space);
    world.check();
}

/// A request to move one page to another place.
fn moved_to(from: u64, to: u64) -> MoveRequest {
    MoveRequest {
        addr: addr(from),
        old_len: PAGE,
        new_len: PAGE,
        flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
        new_addr: addr(to),
    }
}

#[test]
fn every_mapping_of_a_frame_is_found() {
    let world = World::new(512);
    let space = world.space();
    map(&space, 0, 4, RW, PRIVATE, None);
    write(&space, 1, 7);
    let child = space.fork().expect("fork");
    let grandchild = child.fork().expect("fork");
    // Moved inside its space, and cut: the numbering of pages stays.
    child.mremap(moved_to(1, 100)).expect("moved");
    let shared = frame(&space, 1);
    let mut found: Vec<_> = world
        .env
        .mappings(shared)
        .into_iter()
        .map(|(_, page)| page)
        .collect();
    found.sort();
    assert_eq!(found, [vpn(1), vpn(1), vpn(100)]);
    assert_eq!(world.phys.record(shared).maps.get(), 3);

    let to = moves(&world, &space, 1);
    assert_eq!((frame(&child, 100), frame(&grandchild, 1)), (to, to));
    for (space, at) in [(&space, 1), (&child, 100), (&grandchild, 1)] {
        assert_eq!(peek(space, at), 7);
    }
    assert_eq!(write(&child, 100, 8), [Outcome::CopyOnWrite]);
    assert_eq!((peek(&space, 1), peek(&grandchild, 1)), (7, 7));
    drop(grandchild);
    assert_eq!(write(&space, 1, 9), [Outcome::Reused]);
    drop((space, child));
    world.check();
}

#[test]
fn a_frame_of_an_object_moves_in_the_cache_and_in_all_mappings() {
    let world = World::new(512);
    let (one, two) = (world.space(), world.space());
    let file = TestFile::of_pages(8);
    let object = Object::file(&world.env, file.clone());
    let mapping = open(&object);
    map(&one, 0, 8, RW, SHARED, Some(&mapping));
    map(&one, 100, 8, Prot::READ, PRIVATE, Some(&mapping));
    map(&two, 50, 8, Prot::READ, SHARED, Some(&mapping));
    write(&one, 3, 0x33);
    read(&one, 103);
    read(&two, 53);
    let from = frame(&one, 3);
    assert_eq!(world.env.mappings(from).len(), 3);
    let to = moves(&world, &one, 3);
    assert_eq!((frame(&one, 103), frame(&two, 53)), (to, to));
    assert_eq!((peek(&one, 103), peek(&two, 53)), (0x33, 0x33));
    assert_eq!(write(&one, 3, 0x34), [], "writable as before");
    object.write_back(0..8).expect("written");
    assert_eq!(file.byte(3 * PAGE), 0x34, "dirty as before");
    let mut byte = [0];
    object.read(3 * PAGE, &mut byte).expect("read");
    assert_eq!(byte, [0x34]);

    // Nobody maps it: only the cache refers to it.
    drop(one);
    drop(two);
    let (moved, at) = move_away(&world, to);
    assert_eq!(moved, Moved::Yes);
    assert_eq!(world.phys.record(at).refs.get(), 1);
    object.read(3 * PAGE, &mut byte).expect("read");
    assert_eq!(byte, [0x34]);
    drop((mapping, object));
    world.check();
}

#[test]
fn what_somebody_else_holds_stays_and_nothing_changes() {
    let world = World::new(128);
    let space = world.space();
    map(&space, 0, 2, RW, PRIVATE, None);
    map(&space, 10, 2, RW, SHARED, None);
    for at in [0, 10] {
        write(&space, at, 5);
        let (entry, from) = (space.tables().get(vpn(at)), frame(&space, at));
        let pin = world.phys.get(from);
        assert_eq!(move_away(&world, from).0, Moved::Busy);
        assert_eq!(space.tables().get(vpn(at)), entry);
        drop(pin);
        let busy = space.map().book();
        assert_eq!(
            move_away(&world, from).0,
            Moved::Busy,
            "its space is being changed"
        );
        drop(busy);
        moves(&world, &space, at);
    }
    let zero = world.env.zero_frame();
    let table = world
        .phys
        .alloc(AllocRequest::kernel(Owner::Table))
        .expect("room");
    for stays in [zero, table.pfn()] {
        assert_eq!(move_away(&world, stays).0, Moved::No);
    }
    drop((table, space));
    world.check();
}

#[test]
fn a_page_that_is_unmapped_while_it_moves_is_gone_once() {
    let world = World::with_cpus(512, 2);
    let space = world.space();
    map(&space, 0, 16, RW, PRIVATE, None);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            world.phys.platform().on_cpu(CpuId(1), || {
                while !stop.load(Ordering::Relaxed) {
                    for at in 0..16 {
                        let entry = space.tables().get(vpn(at));
                        if entry.has_frame() && !entry.is_special() {
                            move_away(&world, entry.frame());
                        }
                    }
                }
            });
        });
        for round in 0..2000 {
            for at in 0..16 {
                let byte = [round as u8 | 1];
                space.copy_out(addr(at), &byte).expect("writable");
                assert_eq!(peek(&space, at), byte[0]);
            }
            space
                .madvise(addr(0), 16 * PAGE, Advice::DontNeed.raw())
                .expect("discarded");
            assert_eq!(peek(&space, round % 16), 0);
        }
        stop.store(true, Ordering::Relaxed);
        mover.join().expect("the mover");
    });
    rss(&space);
    drop(space);
    world.check();
}

/// Private memory of a parent and a child, a file and shared memory, all over
/// the machine, of which then every second private page is given back.
struct Busy {
    world: World,
    parent: Arc<Space<P>>,
    child: Arc<Space<P>>,
    object: Arc<Object<P>>,
}

const PRIVATE_PAGES: u64 = 9 * 512;
const FILE_PAGES: u64 = 250;
const SHARED_PAGES: u64 = 512;

impl Busy {
    fn new() -> Self {
        let world = World::with_cpus(16 * 512, 3);
        let parent = world.space();
        let object = Object::file(&world.env, TestFile::of_pages(FILE_PAGES as u8));
        let mapping = open(&object);
        map(&parent, 0, PRIVATE_PAGES, RW, PRIVATE, None);
        map(&parent, 20_000, FILE_PAGES, RW, SHARED, Some(&mapping));
        map(&parent, 30_000, SHARED_PAGES, RW, SHARED, None);
        for at in 0..PRIVATE_PAGES {
            write(&parent, at, byte(at));
            if at < FILE_PAGES {
                read(&parent, 20_000 + at);
            }
            if at < SHARED_PAGES {
                write(&parent, 30_000 + at, byte(at));
            }
        }
        let child = parent.fork().expect("fork");
        for at in 0..SHARED_PAGES {
            read(&child, 30_000 + at);
        }
        for at in (0..PRIVATE_PAGES).step_by(2) {
            for space in [&parent, &child] {
                space
                    .madvise(addr(at), PAGE, Advice::DontNeed.raw())
                    .expect("discarded");
            }
        }
        world.phys.drain_all();
        Self {
            world,
            parent,
            child,
            object,
        }
    }

    /// Everything is where it was, and counts as it did.
    fn check(&self) {
        for space in [&self.parent, &self.child] {
            for at in (0..PRIVATE_PAGES).filter(|at| at % 2 != 0) {
                assert_eq!(peek(space, at), byte(at), "page {at}");
            }
            for at in 0..SHARED_PAGES {
                assert_eq!(peek(space, 30_000 + at), byte(at));
            }
        }
        for at in 0..FILE_PAGES {
            assert_eq!(peek(&self.parent, 20_000 + at), at as u8 + 1);
        }
        testing::audit(&self.world.phys);
    }

    fn end(self) {
        drop((self.parent, self.child, self.object));
        self.world.check();
    }
}

fn byte(at: u64) -> u8 {
    (at % 251) as u8 + 1
}

#[test]
fn an_order_nine_request_succeeds_among_fragmented_programs() {
    let busy = Busy::new();
    let phys = &busy.world.phys;
    let counts = (rss(&busy.parent), rss(&busy.child));
    let huge = AllocRequest::movable(Owner::Test).order(Order::PMD).silent();
    // Those that are whole anyway.
    let at_hand = core::iter::from_fn(|| phys.alloc(huge.effort(Effort::NoWait)).ok());
    let mut held: Vec<_> = at_hand.collect();
    let before = held.len();
    while held.len() < before + 2 {
        held.push(phys.alloc(huge).expect("a huge folio after compaction"));
    }
    assert!(phys.events(Event::CompactSuccess) > 0 && phys.events(Event::Migrated) > 0);
    busy.check();
    assert_eq!((rss(&busy.parent), rss(&busy.child)), counts);
    drop(held);
    busy.end();
}

#[test]
fn a_contiguous_range_is_taken_back_from_programs() {
    let busy = Busy::new();
    let phys = &busy.world.phys;
    let migrator = phys.migrator().expect("of the memory manager");
    let counts = (rss(&busy.parent), rss(&busy.child));
    let run = phys
        .alloc_contig(1000, 4, Owner::Buffer, &*migrator)
        .expect("a range");
    assert_eq!(run.frames().len(), 1000);
    busy.check();
    assert_eq!((rss(&busy.parent), rss(&busy.child)), counts);
    drop(run);
    busy.end();
}

/// Refuses one migration of many.
struct Refuses<'a> {
    inner: Arc<dyn Migrator>,
    at: u64,
    count: &'a AtomicU64,
}

impl Migrator for Refuses<'_> {
    fn migrate(&self, from: Pfn, to: Pfn) -> Moved {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            return Moved::Busy;
        }
        self.inner.migrate(from, to)
    }
}

#[test]
fn whichever_move_fails_programs_do_not_notice() {
    let busy = Busy::new();
    let phys = &busy.world.phys;
    let counts = (rss(&busy.parent), rss(&busy.child));
    for at in [1, 2, 3, 10, 100, 341] {
        let count = AtomicU64::new(0);
        let refuses = Refuses {
            inner: phys.migrator().expect("of the memory manager"),
            at,
            count: &count,
        };
        phys.compact_node(NodeId(0), Order::new(10).expect("an order"), &refuses);
        busy.check();
        assert_eq!((rss(&busy.parent), rss(&busy.child)), counts);
    }
    busy.end();
}

/// Programs go on while the machine compacts all the time.
#[test]
fn programs_run_while_memory_is_compacted() {
    let busy = Busy::new();
    let phys = &busy.world.phys;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let compacting = scope.spawn(|| {
            phys.platform().on_cpu(CpuId(2), || {
                let migrator = phys.migrator().expect("of the memory manager");
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    phys.compact_all(NodeId(0), &*migrator);
                    // Captured, if there is none at hand.
                    let huge = AllocRequest::movable(Owner::Test).order(Order::PMD).silent();
                    drop([phys.alloc(huge), phys.alloc(huge), phys.alloc(huge)]);
                    rounds += 1;
                }
                rounds
            })
        });
        let running = scope.spawn(|| {
            phys.platform().on_cpu(CpuId(1), || {
                for round in 0..30_u64 {
                    let grandchild = busy.child.fork().expect("fork");
                    for at in (1..PRIVATE_PAGES).step_by(97).filter(|at| at % 2 != 0) {
                        grandchild.copy_out(addr(at), &[0xee]).expect("writable");
                        let outcomes = touch(&busy.child, addr(at), Access::Write);
                        assert!(outcomes.is_ok(), "{outcomes:?}");
                        assert_eq!(peek(&busy.child, at), byte(at), "round {round} page {at}");
                    }
                    let at = 40_000 + round * 64;
                    map(&grandchild, at, 64, RW, PRIVATE, None);
                    (at..at + 64).for_each(|at| {
                        write(&grandchild, at, 1);
                    });
                    grandchild.munmap(addr(at), 32 * PAGE).expect("munmap");
                }
            });
        });
        let result = running.join();
        stop.store(true, Ordering::Relaxed);
        assert!(compacting.join().expect("the compacting thread") > 0);
        result.expect("the programs");
    });
    busy.check();
    busy.end();
}
