//! Free objects between CPUs: what one has too many of and another needs.

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};

use super::batch::{BATCH, Batch};
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
    slots: [Option<Object>; SLOTS],
}

impl Default for Depot {
    fn default() -> Self {
        Self {
            hint: AtomicU32::new(0),
            inner: SpinLock::new(Stack {
                len: 0,
                slots: [None; SLOTS],
            }),
        }
    }
}

impl Depot {
    /// Moves objects of a batch here as long as fewer than `limit` are here;
    /// those left in the batch did not fit.
    pub(crate) fn put(&self, batch: &mut Batch, limit: usize) {
        let limit = limit.min(SLOTS);
        if self.hint.load(Ordering::Relaxed) as usize + batch.len() > limit {
            return;
        }
        let mut stack = self.inner.lock();
        while stack.len < limit
            && let Some(object) = batch.pop()
        {
            let at = stack.len;
            stack.slots[at] = Some(object);
            stack.len += 1;
        }
        self.hint.store(stack.len as u32, Ordering::Relaxed);
    }

    /// Moves up to `count` objects into a batch.
    pub(crate) fn take(&self, count: usize, batch: &mut Batch) {
        if self.hint.load(Ordering::Relaxed) == 0 {
            return;
        }
        if is_on(Mutant::DepotUnlocked) {
            let seen = self.inner.lock().clone_for_mutant();
            let mut stack = seen;
            stack.give(count, batch);
            *self.inner.lock() = stack;
            return;
        }
        let mut stack = self.inner.lock();
        stack.give(count, batch);
        self.hint.store(stack.len as u32, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().len
    }

    /// Calls `visit` for each object, for audits.
    pub(crate) fn each(&self, mut visit: impl FnMut(Object)) {
        let stack = self.inner.lock();
        stack.slots[..stack.len]
            .iter()
            .copied()
            .flatten()
            .for_each(&mut visit);
    }
}

impl Stack {
    fn give(&mut self, count: usize, batch: &mut Batch) {
        let count = count.min(batch.room()).min(self.len);
        for at in self.len - count..self.len {
            if let Some(object) = self.slots[at].take() {
                batch.push(object);
            }
        }
        self.len -= count;
    }

    /// What someone sees who looks and changes in two steps.
    fn clone_for_mutant(&self) -> Self {
        Self {
            len: self.len,
            slots: self.slots,
        }
    }
}
