//! A heap that hands out page-aligned bytes, as kernels without a frame
//! allocator do.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Mutex;

use foliant_units::Order;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::Manual;

use super::Allocator;

/// Bytes of the heap: its tags lie among what it hands out, so memory is
/// really touched.
const ARENA: usize = 64 << 20;

/// `talc` behind a lock.
pub(super) struct Heap {
    talc: Mutex<Talc<Manual, DefaultBinning>>,
    base: NonNull<u8>,
}

// SAFETY: the arena is never freed, and only the locked heap writes to it.
unsafe impl Sync for Heap {}

impl Heap {
    pub(super) fn new() -> Self {
        let Ok(arena) = Layout::from_size_align(ARENA, 4096) else {
            panic!("no host has so much memory");
        };
        // SAFETY: the layout is not empty.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(arena) }) else {
            handle_alloc_error(arena)
        };
        let mut talc = Talc::new(Manual);
        // SAFETY: the arena is this heap's alone and is never freed.
        let claimed = unsafe { talc.claim(base.as_ptr(), ARENA) };
        assert!(claimed.is_some(), "the arena is large enough");
        Self {
            talc: Mutex::new(talc),
            base,
        }
    }

    fn layout(order: Order) -> Option<Layout> {
        Layout::from_size_align((order.frames() as usize) << 12, 4096).ok()
    }
}

impl Allocator for Heap {
    fn name(&self) -> &'static str {
        "talc"
    }

    fn serves(&self, _: Order, bulk: bool) -> bool {
        !bulk
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        let layout = Self::layout(order)?;
        // SAFETY: the layout is not empty.
        let found = unsafe { self.talc.lock().ok()?.allocate(layout) }?;
        Some((found.addr().get() - self.base.addr().get()) >> 12)
    }

    fn free(&self, at: usize, order: Order) {
        if let (Ok(mut talc), Some(layout)) = (self.talc.lock(), Self::layout(order)) {
            // SAFETY: `alloc` gave out this place of the arena with this layout.
            unsafe { talc.deallocate(self.base.add(at << 12).as_ptr(), layout) }
        }
    }
}
