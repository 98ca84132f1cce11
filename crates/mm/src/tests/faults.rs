//! Every sort of fault, its outcome and what it counts.

use foliant_uapi::{Advice, MapFlags, MlockFlags, Prot};

use super::world::{BASE, PAGE, RW, TestFile, World, addr, map, open, read, rss, touch, vpn, write};
use crate::fault::{Access, FaultError, Outcome, Segv};
use crate::{Limits, Object, Populate, PopulateError, Source, VmFlags};
use foliant_units::{Errno, VirtAddr, VpnRange};

const PRIVATE: MapFlags = MapFlags::PRIVATE;
const SHARED: MapFlags = MapFlags::SHARED;

#[test]
fn reading_then_writing_private_memory_takes_two_faults() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 4, RW, PRIVATE, None);
    assert_eq!(read(&space, 1), (0, vec![Outcome::ZeroPage]));
    assert_eq!(rss(&space), (0, 0, 0), "the page of zeroes is not counted");
    assert_eq!(write(&space, 1, 7), [Outcome::Anonymous]);
    assert_eq!(read(&space, 1), (7, vec![]));
    assert_eq!(write(&space, 2, 8), [Outcome::Anonymous]);
    assert_eq!(rss(&space), (2, 0, 0));
    assert_eq!(space.count().minor_faults, 3);
    drop(space);
    world.check();
}

#[test]
fn nothing_mapped_and_nothing_allowed_are_told_apart() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 1, Prot::READ, PRIVATE, None);
    map(&space, 1, 1, Prot::empty(), PRIVATE, None);
    let refused = |at, access| touch(&space, addr(at), access).expect_err("a signal");
    assert_eq!(refused(5, Access::Read), FaultError::Segv(Segv::MapErr));
    assert_eq!(refused(0, Access::Write), FaultError::Segv(Segv::AccErr));
    assert_eq!(refused(1, Access::Read), FaultError::Segv(Segv::AccErr));
    // The page is brought in before its missing right is noticed.
    assert_eq!(refused(0, Access::Execute), FaultError::Segv(Segv::AccErr));
    assert_eq!((space.count().minor_faults, space.count().faults.refused), (1, 4));
    drop(space);
    world.check();
}

#[test]
fn write_only_and_execute_only_memory_can_be_read() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 1, Prot::WRITE, PRIVATE, None);
    map(&space, 1, 1, Prot::EXEC, PRIVATE, None);
    assert_eq!(read(&space, 0), (0, vec![Outcome::ZeroPage]));
    assert_eq!(read(&space, 1), (0, vec![Outcome::ZeroPage]));
    assert_eq!(touch(&space, addr(1), Access::Execute), Ok(vec![]));
    drop(space);
    world.check();
}

#[test]
fn a_file_is_read_sixteen_pages_at_a_time() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(40));
    map(&space, 3, 38, Prot::READ, PRIVATE, Some(&open(&object)));
    // The window is aligned in the address space and starts at the mapping.
    assert_eq!(read(&space, 5), (3, vec![Outcome::FileRead]));
    assert_eq!(read(&space, 3), (1, vec![]));
    assert_eq!(read(&space, 15), (13, vec![]));
    assert_eq!(rss(&space), (0, 16, 0));
    assert_eq!(read(&space, 20), (18, vec![Outcome::FileRead]));
    // Pages 16 to 18 were mapped from the start of the mapping on.
    assert_eq!(rss(&space), (0, 29, 0));
    assert_eq!(space.count().major_faults, 0, "the file below is in memory too");
    drop(space);
    drop(object);
    world.check();
}

#[test]
fn the_whole_window_is_mapped_wherever_it_begins_in_the_file() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(40));
    map(&space, 3, 38, Prot::READ, PRIVATE, Some(&open(&object)));
    // Pages 13 to 28 of the file, which are parts of two aligned chunks.
    assert_eq!(read(&space, 31), (29, vec![Outcome::FileRead]));
    assert_eq!(rss(&space), (0, 16, 0));
    assert_eq!(read(&space, 16), (14, vec![]));
    drop((space, object));
    world.check();
}

#[test]
fn the_window_ends_with_the_file() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(3));
    map(&space, 0, 8, Prot::READ, PRIVATE, Some(&open(&object)));
    assert_eq!(read(&space, 0), (1, vec![Outcome::FileRead]));
    assert_eq!(rss(&space), (0, 3, 0));
    assert_eq!(touch(&space, addr(3), Access::Read), Err(FaultError::Bus));
    drop((space, object));
    world.check();
}

#[test]
fn a_store_to_a_private_file_page_copies_it() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(8));
    map(&space, 0, 8, RW, PRIVATE, Some(&open(&object)));
    // Straight away: one fault, one page.
    assert_eq!(write(&space, 2, 99), [Outcome::FileCopy]);
    assert_eq!(rss(&space), (1, 0, 0));
    // After a read: one more fault, and the file's page is given up.
    assert_eq!(read(&space, 0), (1, vec![Outcome::FileRead]));
    assert_eq!(rss(&space), (1, 7, 0));
    assert_eq!(write(&space, 1, 98), [Outcome::FileCopy]);
    assert_eq!(rss(&space), (2, 6, 0));
    let mut byte = [0; 2];
    space
        .copy_in(VirtAddr::new(BASE + PAGE), &mut byte)
        .expect("mapped");
    assert_eq!(byte, [98, 2], "the rest of the page is the file's");
    let mut clean = [0];
    object.read(PAGE, &mut clean).expect("cached");
    assert_eq!(clean, [2]);
    drop((space, object));
    world.check();
}

#[test]
fn a_shared_file_page_notices_its_first_store() {
    let world = World::new(128);
    let space = world.space();
    let file = TestFile::of_pages(4);
    let object = Object::file(&world.env, file.clone());
    map(&space, 0, 4, RW, SHARED, Some(&open(&object)));
    assert_eq!(read(&space, 0), (1, vec![Outcome::FileRead]));
    assert_eq!(write(&space, 1, 77), [Outcome::FileWrite]);
    assert_eq!(write(&space, 1, 78), []);
    assert_eq!(file.byte(PAGE), 2);
    object.write_back(0..4).expect("written");
    assert_eq!(file.byte(PAGE), 78);
    assert_eq!(
        write(&space, 1, 79),
        [Outcome::FileWrite],
        "clean again, so noticed again"
    );
    drop((space, object));
    assert_eq!(file.byte(PAGE), 79, "the last one out writes back");
    world.check();
}

#[test]
fn shared_memory_needs_no_second_fault() {
    let world = World::new(128);
    let space = world.space();
    map(&space, 0, 8, RW, SHARED, None);
    assert_eq!(read(&space, 0), (0, vec![Outcome::FileRead]));
    assert_eq!(write(&space, 0, 1), []);
    assert_eq!(write(&space, 1, 2), [Outcome::FileWrite]);
    assert_eq!(rss(&space), (0, 0, 2));
    drop(space);
    world.check();
}

#[test]
fn rights_come_back_to_an_exclusive_page_without_a_fault() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 2, RW, PRIVATE, None);
    write(&space, 0, 1);
    read(&space, 1);
    for without in [Prot::READ, Prot::empty()] {
        space.mprotect(addr(0), 2 * PAGE, without).expect("mprotect");
        assert!(touch(&space, addr(0), Access::Write).is_err());
        space.mprotect(addr(0), 2 * PAGE, RW).expect("mprotect");
        assert_eq!(write(&space, 0, 2), []);
    }
    assert_eq!(
        write(&space, 1, 2),
        [Outcome::Anonymous],
        "the page of zeroes still copies"
    );
    drop(space);
    world.check();
}

#[test]
fn a_guard_page_is_as_good_as_nothing() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 3, RW, PRIVATE, None);
    write(&space, 1, 5);
    space
        .madvise(addr(1), PAGE, Advice::GuardInstall.raw())
        .expect("guard");
    assert_eq!(rss(&space), (0, 0, 0));
    assert_eq!(
        touch(&space, addr(1), Access::Read),
        Err(FaultError::Segv(Segv::MapErr))
    );
    space
        .madvise(addr(0), 3 * PAGE, Advice::DontNeed.raw())
        .expect("discard");
    assert_eq!(
        touch(&space, addr(1), Access::Write),
        Err(FaultError::Segv(Segv::MapErr))
    );
    let three = VpnRange::new(vpn(0), vpn(3));
    let stopped = space.populate(three, Populate::Write);
    assert!(matches!(stopped, Err(PopulateError::Fault(page, _)) if page == vpn(1)));
    space
        .madvise(addr(1), PAGE, Advice::GuardRemove.raw())
        .expect("unguard");
    assert_eq!(read(&space, 1), (0, vec![Outcome::ZeroPage]));
    drop(space);
    world.check();
}

#[test]
fn discarded_pages_read_as_zeroes_and_their_table_goes() {
    let world = World::new(1200);
    let space = world.space();
    map(&space, 0, 1024, RW, PRIVATE, None);
    for at in 0..1024 {
        write(&space, at, 1);
    }
    let tables = space.table_bytes();
    space
        .madvise(addr(0), 512 * PAGE, Advice::DontNeed.raw())
        .expect("discard");
    assert_eq!(space.table_bytes(), tables - PAGE);
    space
        .madvise(addr(512), 511 * PAGE, Advice::DontNeed.raw())
        .expect("discard");
    assert_eq!(
        space.table_bytes(),
        tables - PAGE,
        "a table that is not wholly given up stays"
    );
    assert_eq!(rss(&space), (1, 0, 0));
    assert_eq!(space.count().peak_rss, 1024);
    assert_eq!(read(&space, 0), (0, vec![Outcome::ZeroPage]));
    drop(space);
    world.check();
}

#[test]
fn moved_pages_keep_their_contents() {
    let world = World::new(256);
    let space = world.space();
    map(&space, 510, 8, RW, PRIVATE, None);
    for at in 510..518 {
        write(&space, at, at as u8);
    }
    let moved = space.mremap(crate::MoveRequest {
        addr: addr(510),
        old_len: 8 * PAGE,
        new_len: 8 * PAGE,
        flags: foliant_uapi::MremapFlags::MAYMOVE | foliant_uapi::MremapFlags::FIXED,
        new_addr: addr(2045),
    });
    assert_eq!(moved, Ok(addr(2045)));
    for at in 0..8 {
        assert_eq!(read(&space, 2045 + at), ((510 + at) as u8, vec![]));
    }
    assert_eq!(
        touch(&space, addr(510), Access::Read),
        Err(FaultError::Segv(Segv::MapErr))
    );
    assert_eq!(rss(&space), (8, 0, 0));
    drop(space);
    world.check();
}

#[test]
fn populating_fills_what_the_mapping_is_for() {
    let world = World::new(128);
    let space = world.space();
    map(&space, 0, 4, RW, PRIVATE | MapFlags::POPULATE, None);
    assert_eq!(rss(&space), (4, 0, 0));
    assert_eq!(write(&space, 3, 1), []);
    map(&space, 8, 4, Prot::READ, PRIVATE | MapFlags::POPULATE, None);
    assert_eq!(
        rss(&space),
        (4, 0, 0),
        "the page of zeroes is mapped, not counted"
    );
    assert_eq!(read(&space, 8), (0, vec![]));
    map(&space, 16, 2, Prot::empty(), PRIVATE, None);
    let lock = space.mlock(addr(16), PAGE, MlockFlags::empty());
    assert_eq!(lock, Err(Errno::NOMEM));
    assert_eq!(space.mlock(addr(0), 4 * PAGE, MlockFlags::empty()), Ok(()));
    assert_eq!(space.count().locked_vm, 5);
    drop(space);
    world.check();
}

#[test]
fn a_stack_grows_down_to_its_limit() {
    let world = World::new(128);
    let space = world.space();
    let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::GROWSDOWN;
    let top = VpnRange::new(vpn(4096), vpn(4098));
    let stack = top.start.raw();
    space
        .install(top, flags, stack, Source::Anonymous)
        .expect("a stack");
    space.map().book().limits.stack = 16 * PAGE;
    assert_eq!(write(&space, 4096 - 14, 1), [Outcome::Anonymous]);
    assert_eq!(
        touch(&space, addr(4096 - 15), Access::Write),
        Err(FaultError::Segv(Segv::MapErr))
    );
    assert_eq!(space.map().snapshot().len(), 1);
    assert_eq!(space.count().stack_vm, 16);
    assert_eq!(Limits::default().stack, 8 << 20);
    drop(space);
    world.check();
}

#[test]
fn lazily_freed_pages_stay_until_somebody_needs_them() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 2, RW, PRIVATE, None);
    write(&space, 0, 9);
    space.madvise(addr(0), PAGE, Advice::Free.raw()).expect("free");
    let vma = space.map().find(vpn(0)).expect("mapped");
    let seen = space.residency(&vma);
    assert_eq!((seen.rss, seen.lazy_free, seen.private_clean), (PAGE, PAGE, PAGE));
    assert_eq!(read(&space, 0), (9, vec![]));
    assert_eq!(write(&space, 0, 10), [], "hardware notes the store by itself");
    assert_eq!(space.residency(&vma).private_dirty, PAGE);
    drop((vma, space));
    world.check();
}

#[test]
fn pages_asked_for_ahead_are_what_touching_each_would_bring() {
    let world = World::new(3000);
    let outcomes = [false, true].map(|ahead| {
        let space = world.space();
        // Over the edge of a table, with pages in between that are there: written, read, shared by a fork.
        map(&space, 0, 1100, RW, PRIVATE, None);
        for at in [0, 33, 34, 511, 512, 700] {
            write(&space, at, 9);
        }
        read(&space, 100);
        let child = space.fork().expect("a child");
        write(&space, 34, 10);
        if ahead {
            let all = VpnRange::new(vpn(0), vpn(1100));
            space.populate(all, Populate::Write).expect("memory enough");
        } else {
            for at in 0..1100 {
                touch(&space, addr(at), Access::Write).expect("memory enough");
            }
        }
        drop(child);
        let contents: Vec<_> = (0..1100).map(|at| read(&space, at)).collect();
        (space.count(), rss(&space), contents)
    });
    let [(touched, ..), _] = &outcomes;
    assert_eq!(touched.faults.of(Outcome::Anonymous), 1100);
    assert!(
        outcomes[0] == outcomes[1],
        "{:?}\n{:?}",
        outcomes[0].0,
        outcomes[1].0
    );
    world.check();
}

#[test]
fn pages_asked_for_ahead_come_as_far_as_memory_goes() {
    let world = World::new(100);
    let space = world.space();
    for at in [0, 80, 160] {
        map(&space, at, 80, RW, PRIVATE, None);
    }
    let all = VpnRange::new(vpn(0), vpn(240));
    let stopped = space.populate(all, Populate::Write);
    let (resident, ..) = rss(&space);
    let Err(PopulateError::Fault(at, FaultError::OutOfMemory)) = stopped else {
        panic!("{stopped:?}");
    };
    assert_eq!(at, vpn(resident), "all before it are there");
    assert!(resident > 64, "no frame was kept back: {resident}");
    drop(space);
    world.check();
}
