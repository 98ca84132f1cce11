//! Every allocation fails once, and nothing is lost.

use std::sync::Arc;

use foliant_phys::testing;
use foliant_uapi::{MapFlags, Prot};

use super::world::{P, PAGE, RW, TestFile, World, addr, map, open, peek, rss, try_map};
use crate::{Env, Object, Space};

/// Runs `work` with its first, second, ... allocation failing, until it runs
/// through without a failure. `work` says whether it succeeded.
pub(super) fn fail_each(
    prepare: impl Fn(&World) -> Arc<Space<P>>,
    work: impl Fn(&Arc<Env<P>>, &Arc<Space<P>>) -> bool,
) -> u64 {
    let mut nth = 0;
    loop {
        nth += 1;
        let world = World::new(4096);
        let space = prepare(&world);
        let before = world.phys.allocations();
        world.phys.fail_at(nth);
        let succeeded = work(&world.env, &space);
        world.phys.fail_at(0);
        let made = world.phys.allocations() - before;
        rss(&space);
        drop(space);
        assert_eq!(
            testing::audit(&world.phys).allocated,
            1,
            "the {nth}th failure leaked"
        );
        world.check();
        if made < nth {
            assert!(succeeded, "it failed without a reason");
            return nth - 1;
        }
    }
}

#[test]
fn a_fault_that_fails_leaves_nothing_behind() {
    let failures = fail_each(
        |world| {
            let space = world.space();
            map(&space, 0, 8, RW, MapFlags::PRIVATE, None);
            space
        },
        |_, space| space.copy_out(addr(0), &[1; 3 * PAGE as usize]).is_ok(),
    );
    assert_eq!(failures, 6, "three tables and three frames");
}

#[test]
fn a_fork_that_fails_leaves_the_parent_whole() {
    let failures = fail_each(
        |world| {
            let space = world.space();
            for at in [0, 600, 5000] {
                map(&space, at, 4, RW, MapFlags::PRIVATE, None);
                space.copy_out(addr(at), &[7; 2 * PAGE as usize]).expect("room");
            }
            space
        },
        |_, space| {
            let child = space.fork();
            for at in [0, 600, 5000] {
                assert_eq!(peek(space, at), 7);
            }
            if let Ok(child) = &child {
                assert_eq!(rss(child), (6, 0, 0));
            }
            child.is_ok()
        },
    );
    assert_eq!(failures, 1 + 1 + 1 + 3, "root, two upper tables and three leaves");
}

#[test]
fn a_mapping_that_is_populated_survives_what_it_does_not_get() {
    let failures = fail_each(
        |world| world.space(),
        |_, space| {
            let populate = MapFlags::PRIVATE | MapFlags::POPULATE;
            try_map(space, 0, 8, RW, populate, None).is_ok()
        },
    );
    assert!(failures >= 8);
}

#[test]
fn a_move_that_fails_moves_nothing() {
    fail_each(
        |world| {
            let space = world.space();
            map(&space, 0, 600, RW, MapFlags::PRIVATE, None);
            space.copy_out(addr(0), &[7]).expect("room");
            space.copy_out(addr(599), &[8]).expect("room");
            space
        },
        |_, space| {
            let moved = space.mremap(crate::MoveRequest {
                addr: addr(0),
                old_len: 600 * PAGE,
                new_len: 600 * PAGE,
                flags: foliant_uapi::MremapFlags::MAYMOVE | foliant_uapi::MremapFlags::FIXED,
                new_addr: addr(1 << 20),
            });
            let at = if moved.is_ok() { 1 << 20 } else { 0 };
            assert_eq!((peek(space, at), peek(space, at + 599)), (7, 8));
            moved.is_ok()
        },
    );
}

#[test]
fn files_and_shared_memory_fail_cleanly() {
    fail_each(
        |world| world.space(),
        |env, space| {
            let object = Object::file(env, TestFile::of_pages(20));
            let shared = Object::shmem(env, 4 * PAGE);
            map(space, 0, 20, RW, MapFlags::PRIVATE, Some(&open(&object)));
            map(space, 32, 20, Prot::READ, MapFlags::SHARED, Some(&open(&object)));
            map(space, 64, 4, RW, MapFlags::SHARED, Some(&open(&shared)));
            let copied = space.copy_out(addr(0), &[1; 2 * PAGE as usize]).is_ok();
            let read = space.copy_in(addr(36), &mut [0; 1]).is_ok();
            let stored = space.copy_out(addr(65), &[1]).is_ok();
            let written = shared.write(0, &[1; 3 * PAGE as usize]) == Ok(3 * PAGE as usize);
            copied && read && stored && written
        },
    );
}

#[test]
fn guards_need_tables_and_may_not_get_them() {
    fail_each(
        |world| {
            let space = world.space();
            map(&space, 0, 2000, RW, MapFlags::PRIVATE, None);
            space
        },
        |_, space| {
            space
                .madvise(addr(0), 2000 * PAGE, foliant_uapi::Advice::GuardInstall.raw())
                .is_ok()
        },
    );
}
