//! Objects: one truth for read, write and mappings.

use std::sync::Arc;

use foliant_uapi::{MapFlags, Prot};

use super::world::{PAGE, RW, TestFile, World, addr, map, open, peek, read, rss, touch, write};
use crate::fault::{Access, FaultError, Outcome};
use crate::{FileBacking, Object};

#[test]
fn reads_writes_and_mappings_see_one_file() {
    let world = World::new(128);
    let space = world.space();
    let file = TestFile::of_pages(4);
    let object = Object::file(&world.env, file.clone());
    map(&space, 0, 4, RW, MapFlags::SHARED, Some(&open(&object)));
    assert_eq!(read(&space, 1).0, 2);
    assert_eq!(object.write(PAGE, &[50, 51]), Ok(2));
    assert_eq!(
        (peek(&space, 1), file.byte(PAGE + 1)),
        (50, 51),
        "written through"
    );
    write(&space, 1, 60);
    let mut bytes = [0; 2];
    assert_eq!(object.read(PAGE, &mut bytes), Ok(2));
    assert_eq!(bytes, [60, 51]);
    drop((space, object));
    assert_eq!(file.byte(PAGE), 60);
    world.check();
}

#[test]
fn reading_ends_with_the_file_and_writing_extends_it() {
    let world = World::new(128);
    let file = TestFile::of_pages(1);
    let object = Object::file(&world.env, file.clone());
    let mut bytes = [7; 10];
    assert_eq!(object.read(PAGE - 4, &mut bytes), Ok(4));
    assert_eq!(object.read(PAGE, &mut bytes), Ok(0));
    assert_eq!(object.read(u64::MAX, &mut bytes), Ok(0));
    assert_eq!(object.append(b"tail"), Ok((PAGE, 4)));
    assert_eq!((object.size(), file.size()), (PAGE + 4, PAGE + 4));
    assert_eq!(object.write(3 * PAGE, b"x"), Ok(1));
    assert_eq!(object.read(PAGE + 2, &mut bytes), Ok(10));
    assert_eq!(&bytes, b"il\0\0\0\0\0\0\0\0");
    drop(object);
    world.check();
}

#[test]
fn truncation_takes_pages_from_every_mapping_even_private_copies() {
    let world = World::new(256);
    let (one, two) = (world.space(), world.space());
    let file = TestFile::of_pages(8);
    let object = Object::file(&world.env, file.clone());
    let mapping = open(&object);
    map(&one, 0, 8, RW, MapFlags::PRIVATE, Some(&mapping));
    map(&two, 0, 8, RW, MapFlags::SHARED, Some(&mapping));
    write(&one, 5, 99);
    read(&one, 0);
    write(&two, 6, 77);
    object.set_size(2 * PAGE + 10).expect("truncated");
    assert_eq!((rss(&one), rss(&two)), ((0, 3, 0), (0, 0, 0)));
    assert_eq!(touch(&one, addr(5), Access::Read), Err(FaultError::Bus));
    assert_eq!(touch(&two, addr(3), Access::Write), Err(FaultError::Bus));
    assert_eq!(peek(&one, 2), 3);
    let mut tail = [1; 4];
    one.copy_in(addr(2) + 8, &mut tail).expect("mapped");
    assert_eq!(
        tail,
        [3, 3, 0, 0],
        "past the end but in the page there are zeroes"
    );
    object.set_size(8 * PAGE).expect("extended");
    assert_eq!(read(&one, 5), (0, vec![Outcome::FileRead]));
    drop((one, two, mapping, object));
    world.check();
}

#[test]
fn a_hole_keeps_private_copies() {
    let world = World::new(256);
    let space = world.space();
    let object = Object::shmem(&world.env, 8 * PAGE);
    for page in 0..8 {
        object.write(page * PAGE, &[page as u8 + 1]).expect("written");
    }
    let mapping = open(&object);
    map(&space, 0, 8, RW, MapFlags::SHARED, Some(&mapping));
    map(&space, 16, 8, RW, MapFlags::PRIVATE, Some(&mapping));
    read(&space, 0);
    read(&space, 16);
    write(&space, 18, 55);
    assert_eq!(rss(&space), (1, 0, 15));
    object.punch(PAGE + 1, 4 * PAGE).expect("punched");
    assert_eq!(rss(&space), (1, 0, 10));
    assert_eq!((peek(&space, 18), peek(&space, 19)), (55, 0));
    assert_eq!((peek(&space, 1), peek(&space, 2), peek(&space, 5)), (2, 0, 0));
    assert_eq!(object.cached(), 7, "what was read again is there again");
    drop((space, mapping, object));
    world.check();
}

#[test]
fn shared_memory_has_holes_that_reads_leave_alone() {
    let world = World::new(64);
    let object = Object::shmem(&world.env, 10 * PAGE);
    let mut bytes = [1; 100];
    assert_eq!(object.read(5 * PAGE, &mut bytes), Ok(100));
    assert_eq!((bytes, object.cached()), ([0; 100], 0));
    object.allocate(0, 3 * PAGE, true).expect("allocated");
    assert_eq!((object.cached(), object.size()), (3, 10 * PAGE));
    object.allocate(10 * PAGE, PAGE, false).expect("allocated");
    assert_eq!((object.cached(), object.size()), (4, 11 * PAGE));
    drop(object);
    world.check();
}

#[test]
fn invalidation_shows_what_changed_below() {
    let world = World::new(128);
    let space = world.space();
    let file = TestFile::of_pages(3);
    let object = Object::file(&world.env, file.clone());
    map(&space, 0, 3, RW, MapFlags::SHARED, Some(&open(&object)));
    assert_eq!(read(&space, 0).0, 1);
    write(&space, 1, 44);
    file.poke(0, 100);
    file.poke(PAGE, 101);
    assert_eq!(peek(&space, 0), 1, "nobody looked");
    object.invalidate();
    assert_eq!(
        (peek(&space, 0), peek(&space, 1)),
        (100, 44),
        "what is dirty stays"
    );
    drop((space, object));
    world.check();
}

#[test]
fn a_mapping_that_forbids_stores_still_follows_the_file() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(2));
    map(&space, 0, 2, Prot::READ, MapFlags::PRIVATE, Some(&open(&object)));
    read(&space, 0);
    object.write(0, &[9]).expect("written");
    assert_eq!(peek(&space, 0), 9);
    assert!(!object.has_writable_mapping());
    map(&space, 8, 2, RW, MapFlags::SHARED, Some(&open(&object)));
    assert!(object.has_writable_mapping());
    space.munmap(addr(8), 2 * PAGE).expect("munmap");
    assert!(!object.has_writable_mapping());
    drop((space, object));
    world.check();
}

#[test]
fn faults_are_told_by_what_was_mapped() {
    let world = World::new(128);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(2));
    let file = open(&object);
    let opened = Arc::downgrade(&file.label);
    map(&space, 0, 2, RW, MapFlags::PRIVATE, Some(&file));
    drop(file);
    map(&space, 8, 2, RW, MapFlags::PRIVATE, None);
    write(&space, 0, 1);
    write(&space, 8, 1);
    let vma = space.map().find(addr(0).page()).expect("mapped");
    assert_eq!(vma.faults.tally().of(Outcome::FileCopy), 1);
    drop(vma);
    space.munmap(addr(0), 16 * PAGE).expect("munmap");
    assert!(opened.upgrade().is_none(), "remembering a file keeps it open");
    let history = space.history();
    assert_eq!(history.anonymous.of(Outcome::Anonymous), 1);
    let files: Vec<_> = history
        .files()
        .map(|(name, tally)| (name, tally.total()))
        .collect();
    assert_eq!(files, [("/file", 1)]);
    drop((space, Arc::downgrade(&object), object));
    world.check();
}

#[test]
fn a_file_larger_than_memory_can_be_read() {
    let world = World::new(64);
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(250));
    map(
        &space,
        0,
        250,
        Prot::READ,
        MapFlags::PRIVATE,
        Some(&open(&object)),
    );
    map(&space, 1000, 1, RW, MapFlags::PRIVATE, None);
    write(&space, 1000, 99);
    for _ in 0..2 {
        for page in 0..250 {
            let mut byte = [0];
            assert_eq!(object.read(page * PAGE, &mut byte), Ok(1));
            assert_eq!(byte, [page as u8 + 1]);
        }
    }
    assert_eq!(peek(&space, 1000), 99, "private pages stay");
    // What is mapped stays too, until there is nothing left to give back.
    let all = (0..250).try_for_each(|page| touch(&space, addr(page), Access::Read).map(drop));
    assert_eq!(all, Err(FaultError::OutOfMemory));
    drop((space, object));
    world.check();
}
