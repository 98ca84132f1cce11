//! Foliant's allocator, on CPUs that are threads.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::Arc;

use foliant_kvirt::slab::{Heap, How, Slab, SlabOptions};
use foliant_phys::Effort;

use super::Objects;
use crate::machine::{self, Machine};

/// As a kernel installs it: what is given back is known by its layout.
pub(super) struct Ours(Box<Heap<Machine>>);

impl Ours {
    pub(super) fn new() -> Self {
        let heap = Box::new(Heap::new());
        heap.install(slab(), Effort::NoWait);
        Self(heap)
    }
}

// SAFETY: all of it is the heap's.
unsafe impl GlobalAlloc for Ours {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(at, layout) }
    }
}

impl Objects for Ours {
    const NAME: &'static str = "foliant";

    fn on_cpu(&self, cpu: usize) {
        machine::on_cpu(cpu);
    }
}

/// `kmalloc` and `kfree`: what is given back is known by its frame's record.
pub(super) struct ByRecord(Slab<Machine>);

impl ByRecord {
    pub(super) fn new() -> Self {
        Self(slab())
    }
}

// SAFETY: what `kmalloc` gives is as large as asked for, aligned if the size is
// a power of two (the benchmark asks for no other alignment), and given back once.
unsafe impl GlobalAlloc for ByRecord {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0
            .kmalloc(layout.size(), How::NOWAIT)
            .map_or(std::ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        if let Some(at) = NonNull::new(at) {
            // SAFETY: the caller's promise.
            unsafe { self.0.kfree(at) }
        }
    }
}

impl Objects for ByRecord {
    const NAME: &'static str = "foliant, kfree";

    fn on_cpu(&self, cpu: usize) {
        machine::on_cpu(cpu);
    }
}

fn slab() -> Slab<Machine> {
    match Slab::new(Arc::new(machine::boot()), SlabOptions::default()) {
        Ok(slab) => slab,
        Err(error) => panic!("{error}"),
    }
}
