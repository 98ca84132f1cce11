//! Who waits for what.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::sync::atomic::{AtomicBool, Ordering};
use foliant_platform::sync::{Mutex, MutexGuard, SpinLock};

use crate::park::{Parker, Wake};
use crate::pid::Pid;

use super::key::Key;

const BUCKETS: usize = 64;

/// All tasks of a machine that wait on futexes.
pub(crate) struct Futexes {
    buckets: Vec<Mutex<Bucket>>,
}

/// Those whose keys fall together, oldest first.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) waiters: Vec<Arc<Waiter>>,
}

/// A task that waits on one futex.
pub(super) struct Waiter {
    /// Which, and for what; changes when it is requeued, under both buckets'
    /// locks.
    place: SpinLock<(Key, Wanted)>,
    /// Which wake-ups it hears.
    pub(super) bitset: u32,
    parker: Arc<Parker>,
    woken: AtomicBool,
}

/// What a task waits for on its futex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To be woken.
    Wake,
    /// The lock with priority inheritance there; this task gets it by name.
    Lock(Pid),
    /// To be moved to the lock with this key, for this task.
    Requeue(Key, Pid),
}

impl Futexes {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
        }
    }

    fn index(key: Key) -> usize {
        key.hash() % BUCKETS
    }

    /// Locks the bucket of `key`.
    pub(super) fn bucket(&self, key: Key) -> MutexGuard<'_, Bucket> {
        self.buckets[Self::index(key)].lock()
    }

    /// Locks the buckets of two keys, the second only if it is another one.
    pub(super) fn two_buckets(
        &self,
        one: Key,
        two: Key,
    ) -> (MutexGuard<'_, Bucket>, Option<MutexGuard<'_, Bucket>>) {
        let (first, second) = (Self::index(one), Self::index(two));
        if first == second {
            return (self.buckets[first].lock(), None);
        }
        // In the order of the table, so that two requeues cannot wait for each other.
        if first < second {
            let first = self.buckets[first].lock();
            (first, Some(self.buckets[second].lock()))
        } else {
            let second = self.buckets[second].lock();
            (self.buckets[first].lock(), Some(second))
        }
    }

    /// Takes a waiter out; false if it was woken before.
    pub(super) fn leave(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let key = waiter.key();
            let mut bucket = self.bucket(key);
            if waiter.key() != key {
                // Requeued meanwhile.
                continue;
            }
            let before = bucket.waiters.len();
            bucket.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
            return bucket.waiters.len() != before;
        }
    }
}

impl Default for Futexes {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiter {
    pub(super) fn new(key: Key, bitset: u32, wanted: Wanted, parker: Arc<Parker>) -> Arc<Self> {
        Arc::new(Self {
            place: SpinLock::new((key, wanted)),
            bitset,
            parker,
            woken: AtomicBool::new(false),
        })
    }

    pub(super) fn key(&self) -> Key {
        self.place.lock().0
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.place.lock().1
    }

    /// Who waits, if it is for the lock `key`.
    pub(super) fn heir_of(&self, key: Key) -> Option<Pid> {
        match *self.place.lock() {
            (own, Wanted::Lock(heir)) if own == key => Some(heir),
            _ => None,
        }
    }

    /// Moves it to another futex; the caller holds both buckets.
    pub(super) fn move_to(&self, key: Key, wanted: Wanted) {
        *self.place.lock() = (key, wanted);
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Wakes it; the caller has taken it out of its bucket.
    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.parker.wake();
    }
}
