//! The kernel's access to a program's memory.

use foliant_uapi::{MapFlags, Prot};
use foliant_units::{Errno, VirtAddr};

use super::world::{PAGE, RW, World, addr, map, read, rss};
use crate::StringError;
use crate::fault::{FaultError, Segv};

const HOLE: FaultError = FaultError::Segv(Segv::MapErr);

#[test]
fn a_copy_stops_at_the_exact_byte() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 2, RW, MapFlags::PRIVATE, None);
    let start = addr(1) + 4000;
    let error = space.copy_out(start, &[5; 200]).expect_err("it ends");
    assert_eq!((error.done, error.fault, error.errno()), (96, HOLE, Errno::FAULT));
    let mut bytes = [0; 200];
    let error = space.copy_in(start, &mut bytes).expect_err("it ends");
    assert_eq!((error.done, bytes[95], bytes[96]), (96, 5, 0));
    assert_eq!(rss(&space), (1, 0, 0));
    drop(space);
    world.check();
}

#[test]
fn a_copy_respects_the_rights_of_the_program() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 1, Prot::READ, MapFlags::PRIVATE, None);
    let error = space.copy_out(addr(0), &[1]).expect_err("read-only");
    assert_eq!(error.fault, FaultError::Segv(Segv::AccErr));
    let mut byte = [1];
    assert_eq!(space.copy_in(addr(0), &mut byte), Ok(()));
    assert_eq!(byte, [0]);
    drop(space);
    world.check();
}

#[test]
fn kernel_addresses_and_wraps_are_refused_at_once() {
    let world = World::new(64);
    let space = world.space();
    for at in [0x7fff_ffff_f000, 0xffff_8000_0000_0000, u64::MAX - 3] {
        let error = space
            .copy_in(VirtAddr::new(at), &mut [0; 8])
            .expect_err("not the program's");
        assert_eq!((error.done, error.fault), (0, HOLE));
    }
    drop(space);
    world.check();
}

#[test]
fn words_change_atomically_and_only_where_they_are_aligned() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 1, RW, MapFlags::PRIVATE, None);
    assert_eq!(space.read_u32(addr(0) + 2), Err(Errno::INVAL));
    assert_eq!(space.read_u32(addr(9)), Err(Errno::FAULT));
    assert_eq!(space.write_u32(addr(0) + 4, 7), Ok(()));
    assert_eq!(space.cmpxchg_u32(addr(0) + 4, 6, 1), Ok(7));
    assert_eq!(space.cmpxchg_u32(addr(0) + 4, 7, 1), Ok(7));
    assert_eq!(space.read_u32(addr(0) + 4), Ok(1));
    drop(space);
    world.check();
}

#[test]
fn strings_end_with_a_zero_a_limit_or_a_hole() {
    let world = World::new(64);
    let space = world.space();
    map(&space, 0, 2, RW, MapFlags::PRIVATE, None);
    let at = addr(1) - 3;
    space.copy_out(at, b"abcdef\0").expect("mapped");
    assert_eq!(space.read_cstr(at, 100).as_deref(), Ok(&b"abcdef"[..]));
    assert_eq!(space.read_cstr(at, 6), Err(StringError::TooLong));
    space.copy_out(addr(2) - 2, b"xy").expect("mapped");
    assert_eq!(space.read_cstr(addr(2) - 2, 100), Err(StringError::Fault(HOLE)));
    assert_eq!(read(&space, 0).0, 0);
    assert_eq!(space.clear(addr(0) + 100, PAGE as usize), Ok(()));
    assert_eq!(space.read_cstr(at, 100).as_deref(), Ok(&b""[..]));
    drop(space);
    world.check();
}
