//! Free objects between CPUs: what one has too many of and another needs.

use core::ptr::NonNull;

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};

use super::batch::{Accepts, BATCH, Holds};
use super::mutant::{Mutant, is_on};
use super::object::Object;

/// Objects that a depot can hold.
const SLOTS: usize = 4 * BATCH;

/// A stack of free objects that all CPUs share. Objects that one CPU allocates
/// and another frees go round through here and never touch their slabs.
///
/// # Linux source concept
/// `struct node_barn`. Differs: objects are copied, not whole sheaves exchanged.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Depot {
    /// How many there are, for those who only want to know whether to lock.
    hint: AtomicU32,
    inner: SpinLock<Stack>,
}

#[derive(Debug)]
struct Stack {
    len: usize,
    slots: [Object; SLOTS],
}

impl Default for Depot {
    fn default() -> Self {
        Self {
            hint: AtomicU32::new(0),
            inner: SpinLock::new(Stack {
                len: 0,
                slots: [Object(NonNull::dangling()); SLOTS],
            }),
        }
    }
}

impl Depot {
    /// Whether `count` more would be too many just now.
    #[inline]
    pub(crate) fn is_full(&self, count: usize, limit: usize) -> bool {
        self.hint.load(Ordering::Relaxed) as usize + count > limit.min(SLOTS)
    }

    /// Puts objects here as long as fewer than `limit` are here; tells how many
    /// of them, the first ones.
    pub(crate) fn put(&self, objects: &[impl Holds], limit: usize) -> usize {
        let mut stack = self.inner.lock();
        let room = limit.min(SLOTS).saturating_sub(stack.len);
        let taken = &objects[..objects.len().min(room)];
        for object in taken.iter().filter_map(Holds::object) {
            let at = stack.len;
            stack.slots[at] = object;
            stack.len += 1;
        }
        self.hint.store(stack.len as u32, Ordering::Relaxed);
        taken.len()
    }

    /// Moves up to `count` objects from here; tells how many.
    pub(crate) fn take(&self, count: usize, into: &mut impl Accepts) -> usize {
        if self.hint.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        if is_on(Mutant::DepotUnlocked) {
            let seen = self.inner.lock().clone_for_mutant();
            let mut stack = seen;
            let taken = stack.give(count, into);
            *self.inner.lock() = stack;
            return taken;
        }
        let mut stack = self.inner.lock();
        let taken = stack.give(count, into);
        self.hint.store(stack.len as u32, Ordering::Relaxed);
        taken
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().len
    }

    /// Calls `visit` for each object, for audits.
    pub(crate) fn each(&self, mut visit: impl FnMut(Object)) {
        let stack = self.inner.lock();
        stack.slots[..stack.len].iter().copied().for_each(&mut visit);
    }
}

impl Stack {
    fn give(&mut self, count: usize, into: &mut impl Accepts) -> usize {
        let count = count.min(into.room()).min(self.len);
        into.expect(count);
        for at in self.len - count..self.len {
            into.push(self.slots[at]);
        }
        self.len -= count;
        count
    }

    /// What someone sees who looks and changes in two steps.
    fn clone_for_mutant(&self) -> Self {
        Self {
            len: self.len,
            slots: self.slots,
        }
    }
}
