//! Other people's allocators.

use std::alloc::{GlobalAlloc, Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;

use mimalloc::MiMalloc;
use talc::TalcLock;
use talc::source::Manual;

use super::Objects;

/// Bytes of talc's heap.
const ARENA: usize = 256 << 20;

impl Objects for MiMalloc {
    const NAME: &'static str = super::MIMALLOC;
}

/// Talc behind a spin lock, as kernels have it.
pub(super) struct Talc(TalcLock<spin::Mutex<()>, Manual>);

impl Talc {
    pub(super) fn new() -> Self {
        let talc = TalcLock::new(Manual);
        let Ok(arena) = Layout::from_size_align(ARENA, 4096) else {
            panic!("no host has so much memory");
        };
        // SAFETY: the layout is not empty.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(arena) }) else {
            handle_alloc_error(arena)
        };
        // SAFETY: the arena is talc's alone, and never freed.
        let claimed = unsafe { talc.lock().claim(base.as_ptr(), ARENA) };
        assert!(claimed.is_some(), "talc takes an arena of {ARENA} bytes");
        Self(talc)
    }
}

// SAFETY: all of it is talc's.
unsafe impl GlobalAlloc for Talc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(at, layout) }
    }
}

impl Objects for Talc {
    const NAME: &'static str = super::TALC;
}
