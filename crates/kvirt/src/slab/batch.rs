//! Free objects on their way, some at a time.

use core::ptr::NonNull;

use super::object::Object;

/// Objects that move between a CPU, the depot and slabs at once.
pub(crate) const BATCH: usize = 32;

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

    /// How many more it can hold.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        BATCH - self.len
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an object; the caller looked at [`room`](Self::room).
    #[inline]
    pub(crate) fn push(&mut self, object: Object) {
        debug_assert!(self.len < BATCH, "a batch holds {BATCH} objects");
        if let Some(slot) = self.objects.get_mut(self.len) {
            *slot = object;
            self.len += 1;
        }
    }

    /// Adds an object, if there is one.
    pub(crate) fn extend(&mut self, object: Option<Object>) {
        if let Some(object) = object {
            self.push(object);
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
