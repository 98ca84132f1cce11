//! Other people's allocators.

use std::sync::Mutex;

use bitmap_allocator::{BitAlloc, BitAlloc1M};
use buddy_system_allocator::LockedFrameAllocator;
use foliant_units::Order;

use super::{Allocator, FRAMES};

/// `buddy_system_allocator`'s frame allocator behind its own lock.
pub(super) struct Buddy(LockedFrameAllocator<32>);

impl Buddy {
    pub(super) fn new() -> Self {
        let buddy = LockedFrameAllocator::new();
        buddy.lock().add_frame(0, FRAMES);
        Self(buddy)
    }
}

impl Allocator for Buddy {
    fn name(&self) -> &'static str {
        "buddy_system_allocator"
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        self.0.lock().alloc(order.frames() as usize)
    }

    fn free(&self, at: usize, order: Order) {
        self.0.lock().dealloc(at, order.frames() as usize);
    }
}

/// `bitmap-allocator` behind a lock, as its users have it.
pub(super) struct Bitmap(Mutex<BitAlloc1M>);

impl Bitmap {
    pub(super) fn new() -> Self {
        let mut bitmap = BitAlloc1M::DEFAULT;
        bitmap.insert(0..FRAMES);
        Self(Mutex::new(bitmap))
    }
}

impl Allocator for Bitmap {
    fn name(&self) -> &'static str {
        "bitmap-allocator"
    }

    /// Contiguous frames take it microseconds.
    fn serves(&self, order: Order, _: bool) -> bool {
        order == Order::ZERO
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        let mut bitmap = self.0.lock().ok()?;
        if order == Order::ZERO {
            bitmap.alloc()
        } else {
            bitmap.alloc_contiguous(None, order.frames() as usize, order.raw().into())
        }
    }

    fn free(&self, at: usize, order: Order) {
        if let Ok(mut bitmap) = self.0.lock() {
            if order == Order::ZERO {
                bitmap.dealloc(at);
            } else {
                bitmap.dealloc_contiguous(at, order.frames() as usize);
            }
        }
    }
}
