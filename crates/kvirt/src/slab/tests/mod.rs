//! The slab allocator on machines that are made for it.

#![allow(clippy::unwrap_used)]

mod debug;
mod failures;
mod general;
mod grace;
mod heap;
mod model;
mod threads;

use alloc::sync::Arc;
use core::ptr::NonNull;

use foliant_phys::boot::OnViolation;
use foliant_phys::{BootOptions, Phys, testing};
use foliant_platform::Platform;
use foliant_platform::testing::TestPlatform;

use super::{Cache, CacheSpec, Debug, How, Slab, SlabCensus, SlabError, SlabOptions};

/// Options under which a broken rule is an event, not a panic.
fn recording(debug: Debug) -> SlabOptions {
    SlabOptions {
        debug,
        on_violation: OnViolation::Record,
    }
}

/// Options under which a broken rule is a failed test.
fn strict(debug: Debug) -> SlabOptions {
    SlabOptions {
        debug,
        on_violation: OnViolation::Panic,
    }
}

/// A slab allocator on a machine of one CPU.
fn small() -> Slab<TestPlatform> {
    Slab::new(testing::boot(512), strict(Debug::empty())).unwrap()
}

/// A slab allocator on a machine of some CPUs.
fn with_cpus(cpus: u32, frames: u64) -> Slab<TestPlatform> {
    let phys = testing::boot_with(frames, cpus, BootOptions::test());
    Slab::new(phys, strict(Debug::empty())).unwrap()
}

/// A cache of its own, on the machine of `slab`.
fn cache<P: Platform>(slab: &Slab<P>, spec: CacheSpec) -> Arc<Cache<P>> {
    slab.create(spec).unwrap()
}

/// Audits objects and frames, and panics on anything that is wrong.
fn audit<P: Platform>(slab: &Slab<P>) -> SlabCensus {
    let mut reports = alloc::vec::Vec::new();
    let census = slab.audit(&mut |report| reports.push(alloc::format!("{report}")));
    assert!(reports.is_empty(), "{reports:#?}");
    testing::audit(slab.phys());
    census
}

/// Drops the slab allocator and checks that every frame came back.
fn gone<P: Platform>(slab: Slab<P>) {
    let phys: Arc<Phys<P>> = slab.phys().clone();
    drop(slab);
    testing::assert_all_free(&phys);
}

/// Sets bytes of an object that the test owns.
fn fill(object: NonNull<u8>, len: usize, byte: u8) {
    #[allow(unsafe_code)]
    // SAFETY: the test was just given `len` bytes, or breaks a rule of a cache
    // that leaves room for that.
    unsafe {
        object.write_bytes(byte, len)
    }
}

/// The bytes of an object that the test owns.
fn bytes(object: NonNull<u8>, len: usize) -> alloc::vec::Vec<u8> {
    #[allow(unsafe_code)]
    // SAFETY: the test has `len` bytes, all of which were written.
    unsafe {
        core::slice::from_raw_parts(object.as_ptr(), len).to_vec()
    }
}

/// `kfree`; the test knows what it has.
fn kfree<P: Platform>(slab: &Slab<P>, object: NonNull<u8>) {
    #[allow(unsafe_code)]
    // SAFETY: the test gives back what it was given, or checks what happens if not.
    unsafe {
        slab.kfree(object)
    }
}

/// `krealloc`; the test knows what it has.
fn krealloc<P: Platform>(slab: &Slab<P>, at: NonNull<u8>, size: usize) -> Result<NonNull<u8>, SlabError> {
    #[allow(unsafe_code)]
    // SAFETY: the test has the object and forgets its old address.
    unsafe {
        slab.krealloc(at, size, How::NOWAIT)
    }
}

/// The address `bytes` further, in the same slab.
fn further(object: NonNull<u8>, bytes: isize) -> NonNull<u8> {
    #[allow(unsafe_code)]
    // SAFETY: the test names an address of the object's slab.
    unsafe {
        object.offset(bytes)
    }
}

/// An object on its way from one thread to another, and what it holds.
struct Sent(NonNull<u8>, u8);

#[allow(unsafe_code)]
// SAFETY: whoever has the value has the object.
unsafe impl Send for Sent {}

/// A constructor of objects of 40 bytes.
#[allow(unsafe_code)]
unsafe fn elevens(object: NonNull<u8>) {
    // SAFETY: a constructor is given an object.
    unsafe { object.write_bytes(0x11, 40) }
}

/// `Cache::free_bulk`; the test knows what it has.
fn free_bulk<P: Platform>(cache: &Cache<P>, objects: &[NonNull<u8>]) {
    #[allow(unsafe_code)]
    // SAFETY: as for `kfree`.
    unsafe {
        cache.free_bulk(objects)
    }
}

/// `Cache::free`; the test knows what it has.
#[track_caller]
fn free<P: Platform>(cache: &Cache<P>, object: NonNull<u8>) {
    #[allow(unsafe_code)]
    // SAFETY: as for `kfree`.
    unsafe {
        cache.free(object)
    }
}
