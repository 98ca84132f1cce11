//! The global allocator, by hand.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};

use foliant_phys::{Effort, testing};
use foliant_platform::testing::TestPlatform;

use super::super::{Debug, Heap, Slab};
use super::{audit, strict};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn early_memory_is_aligned_zero_and_never_given_twice() {
    let heap = alloc::boxed::Box::new(Heap::<TestPlatform>::new());
    let mut last = 0;
    for align in [1, 8, 64, 4096, 2] {
        // SAFETY: the layout is not empty.
        let at = unsafe { heap.alloc_zeroed(layout(100, align)) };
        assert!(at.addr().is_multiple_of(align) && at.addr() > last);
        // SAFETY: 100 bytes were just had, and all are zero.
        let found = unsafe { core::slice::from_raw_parts(at, 100) };
        assert_eq!(found, [0; 100]);
        last = at.addr() + 99;
    }
    // SAFETY: the layout is not empty.
    assert!(unsafe { heap.alloc(layout(1 << 20, 8)) }.is_null());
    // SAFETY: as above.
    assert!(unsafe { heap.alloc(layout(8, 8192)) }.is_null());
}

#[test]
fn memory_moves_from_the_early_bytes_into_slabs() {
    let heap = alloc::boxed::Box::new(Heap::<TestPlatform>::new());
    // SAFETY: layouts are not empty; everything is used as it was asked for.
    unsafe {
        let early = heap.alloc(layout(16, 8));
        early.write_bytes(5, 16);
        let slab = Slab::new(testing::boot(512), strict(Debug::empty())).unwrap();
        let slab = heap.install(slab, Effort::NoWait);
        let grown = heap.realloc(early, layout(16, 8), 4000);
        assert_ne!(grown, early);
        assert_eq!(core::slice::from_raw_parts(grown, 16), [5; 16]);
        assert_eq!(heap.realloc(grown, layout(4000, 8), 4096), grown);
        let large = heap.realloc(grown, layout(4096, 8), 50_000);
        assert_eq!(core::slice::from_raw_parts(large, 16), [5; 16]);
        assert_eq!(heap.realloc(large, layout(50_000, 8), 60_000), large);
        let small = heap.realloc(large, layout(60_000, 8), 10);
        heap.dealloc(small, layout(10, 8));
        heap.dealloc(early, layout(16, 8));
        for align in [8, 16, 32, 64, 4096, 8192, 65536] {
            let at = heap.alloc_zeroed(layout(40, align));
            assert!(at.addr().is_multiple_of(align));
            heap.dealloc(at, layout(40, align));
        }
        assert_eq!(audit(slab).in_use, 0);
        assert_eq!(slab.large_frames(), 0);
    }
}
