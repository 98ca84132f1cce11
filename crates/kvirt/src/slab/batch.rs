//! Free objects on their way, some at a time.

use core::ptr::NonNull;

use foliant_platform::sync::atomic::{AtomicPtr, Ordering};

use super::object::Object;

/// Objects that move between a CPU, the depot and slabs at once.
pub(crate) const BATCH: usize = 32;

/// A place that may hold a free object: those on their way out are read where
/// they lie.
pub(crate) trait Holds {
    /// What it holds.
    fn object(&self) -> Option<Object>;

    /// Where that is; zero for nothing, which no object is.
    fn address(&self) -> usize;
}

impl Holds for Object {
    #[inline]
    fn object(&self) -> Option<Object> {
        Some(*self)
    }

    #[inline]
    fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

/// A slot of a CPU, null when it was never used.
impl Holds for AtomicPtr<u8> {
    #[inline]
    fn object(&self) -> Option<Object> {
        NonNull::new(self.load(Ordering::Relaxed)).map(Object)
    }

    #[inline]
    fn address(&self) -> usize {
        self.load(Ordering::Relaxed).addr()
    }
}

/// Where objects go that were taken out of slabs or the depot.
pub(crate) trait Accepts {
    /// How many more it can hold.
    fn room(&self) -> usize;

    /// Says that as many objects follow, for which there is [`room`](Self::room).
    fn expect(&mut self, count: usize);

    /// Adds one of them.
    fn push(&mut self, object: Object);
}

/// Up to [`BATCH`] free objects.
#[derive(Debug)]
pub(crate) struct Batch {
    objects: [Object; BATCH],
    len: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self {
            objects: [Object(NonNull::dangling()); BATCH],
            len: 0,
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Object> {
        self.len = self.len.checked_sub(1)?;
        self.objects.get(self.len).copied()
    }

    /// The objects.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Object] {
        &self.objects[..self.len]
    }
}

impl Accepts for Batch {
    #[inline]
    fn room(&self) -> usize {
        BATCH - self.len
    }

    #[inline]
    fn expect(&mut self, _: usize) {}

    #[inline]
    fn push(&mut self, object: Object) {
        debug_assert!(self.len < BATCH, "a batch holds {BATCH} objects");
        if let Some(slot) = self.objects.get_mut(self.len) {
            *slot = object;
            self.len += 1;
        }
    }
}
