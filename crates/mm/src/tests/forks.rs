//! Forks: who sees what, and who copies.

use foliant_uapi::{Advice, MapFlags, Prot};

use super::world::{PAGE, RW, TestFile, World, addr, map, open, peek, read, rss, touch, vpn, write};
use crate::Object;
use crate::fault::{Access, FaultError, Outcome, Segv};

const PRIVATE: MapFlags = MapFlags::PRIVATE;

#[test]
fn parent_and_child_do_not_see_each_other_write() {
    let world = World::new(128);
    let parent = world.space();
    map(&parent, 0, 4, RW, PRIVATE, None);
    for at in 0..3 {
        write(&parent, at, 10 + at as u8);
    }
    let child = parent.fork().expect("fork");
    assert_eq!((rss(&parent), rss(&child)), ((3, 0, 0), (3, 0, 0)));
    assert_eq!(write(&parent, 0, 20), [Outcome::CopyOnWrite]);
    assert_eq!(write(&child, 1, 31), [Outcome::CopyOnWrite]);
    assert_eq!((peek(&parent, 0), peek(&child, 0)), (20, 10));
    assert_eq!((peek(&parent, 1), peek(&child, 1)), (11, 31));
    assert_eq!(
        write(&child, 0, 30),
        [Outcome::Reused],
        "the parent has given it up"
    );
    assert_eq!(read(&child, 3), (0, vec![Outcome::ZeroPage]));
    drop(child);
    assert_eq!(write(&parent, 2, 22), [Outcome::Reused], "the child is gone");
    drop(parent);
    world.check();
}

#[test]
fn a_copy_is_exclusive_and_is_not_copied_again() {
    let world = World::new(128);
    let parent = world.space();
    map(&parent, 0, 1, RW, PRIVATE, None);
    write(&parent, 0, 1);
    let child = parent.fork().expect("fork");
    write(&child, 0, 2);
    child.mprotect(addr(0), PAGE, Prot::READ).expect("mprotect");
    child.mprotect(addr(0), PAGE, RW).expect("mprotect");
    assert_eq!(write(&child, 0, 3), []);
    assert_eq!(peek(&parent, 0), 1);
    drop((parent, child));
    world.check();
}

#[test]
fn tables_are_copied_only_for_private_pages() {
    let world = World::new(256);
    let parent = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(20));
    map(&parent, 0, 20, RW, PRIVATE, Some(&open(&object)));
    map(&parent, 1024, 4, RW, MapFlags::SHARED, None);
    read(&parent, 0);
    write(&parent, 1024, 1);
    let child = parent.fork().expect("fork");
    assert_eq!(rss(&child), (0, 0, 0));
    assert_eq!(child.table_bytes(), 0);
    // One private page, and all of the mapping's tables are copied.
    write(&parent, 3, 9);
    let second = parent.fork().expect("fork");
    assert_eq!(rss(&second), (1, 15, 0));
    assert_eq!(
        (peek(&second, 3), peek(&second, 4), peek(&second, 1024)),
        (9, 5, 1)
    );
    write(&second, 1024, 2);
    assert_eq!(peek(&parent, 1024), 2, "shared is shared");
    drop((parent, child, second, object));
    world.check();
}

#[test]
fn advice_decides_what_a_child_gets() {
    let world = World::new(128);
    let parent = world.space();
    for at in [0, 2, 4, 6] {
        map(&parent, at, 1, RW, PRIVATE, None);
        write(&parent, at, 5);
    }
    parent
        .madvise(addr(0), PAGE, Advice::DontFork.raw())
        .expect("advice");
    parent
        .madvise(addr(2), PAGE, Advice::WipeOnFork.raw())
        .expect("advice");
    parent
        .madvise(addr(4), PAGE, Advice::GuardInstall.raw())
        .expect("advice");
    let child = parent.fork().expect("fork");
    let segv = Err(FaultError::Segv(Segv::MapErr));
    assert_eq!(touch(&child, addr(0), Access::Read), segv);
    assert_eq!(read(&child, 2), (0, vec![Outcome::ZeroPage]));
    assert_eq!(touch(&child, addr(4), Access::Read), segv, "guards are inherited");
    assert_eq!(read(&child, 6), (5, vec![]));
    assert_eq!(child.count().total_vm, 3);
    assert!(child.map().find(vpn(6)).is_some_and(|vma| vma.family().is_some()));
    drop((parent, child));
    world.check();
}

#[test]
fn the_page_of_zeroes_is_inherited_without_being_counted() {
    let world = World::new(64);
    let parent = world.space();
    map(&parent, 0, 2, RW, PRIVATE, None);
    read(&parent, 0);
    write(&parent, 1, 1);
    let child = parent.fork().expect("fork");
    assert_eq!(read(&child, 0), (0, vec![]));
    assert_eq!(rss(&child), (1, 0, 0));
    assert_eq!(write(&child, 0, 1), [Outcome::Anonymous]);
    assert_eq!(peek(&parent, 0), 0);
    drop((parent, child));
    world.check();
}

#[test]
fn many_generations_share_one_frame() {
    let world = World::new(256);
    let first = world.space();
    map(&first, 0, 1, RW, PRIVATE, None);
    write(&first, 0, 1);
    let mut generations = vec![first];
    for _ in 0..8 {
        let child = generations.last().expect("one").fork().expect("fork");
        generations.push(child);
    }
    let vma = generations[8].map().find(vpn(0)).expect("mapped");
    let seen = generations[8].residency(&vma);
    assert_eq!(
        (seen.rss, seen.pss >> 12, seen.shared_dirty),
        (PAGE, PAGE / 9, PAGE)
    );
    drop(vma);
    while let Some(space) = generations.pop() {
        assert_eq!(peek(&space, 0), 1);
        write(&space, 0, 9);
    }
    world.check();
}
