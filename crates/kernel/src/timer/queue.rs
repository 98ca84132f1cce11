//! The machine's list of what is due when.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use foliant_platform::Nanos;
use foliant_platform::sync::SpinLock;

/// Something with a deadline.
pub trait Expire: Send + Sync {
    /// The deadline has passed. Called without locks of the queue, on any
    /// thread; must not block. It may schedule itself again.
    fn expire(self: Arc<Self>, now: Nanos);
}

/// A place in the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerId {
    at: Nanos,
    order: u64,
}

/// What is due when, in the monotonic clock of the machine.
#[derive(Default)]
pub struct TimerQueue {
    due: SpinLock<Due>,
}

#[derive(Default)]
struct Due {
    next: u64,
    list: BTreeMap<TimerId, Arc<dyn Expire>>,
}

impl TimerQueue {
    /// Nothing is due.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a deadline; the second value says whether it is the earliest now.
    pub fn add(&self, at: Nanos, what: Arc<dyn Expire>) -> (TimerId, bool) {
        let mut due = self.due.lock();
        let id = TimerId { at, order: due.next };
        due.next += 1;
        let is_first = due.list.first_key_value().is_none_or(|(first, _)| id < *first);
        due.list.insert(id, what);
        (id, is_first)
    }

    /// Removes a deadline; false if it has passed already.
    pub fn remove(&self, id: TimerId) -> bool {
        let removed = self.due.lock().list.remove(&id);
        removed.is_some()
    }

    /// Takes one that is due at `now`.
    pub fn take_due(&self, now: Nanos) -> Option<Arc<dyn Expire>> {
        let mut due = self.due.lock();
        let first = *due.list.first_key_value()?.0;
        if first.at > now {
            None
        } else {
            due.list.remove(&first)
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Nanos> {
        self.due.lock().list.first_key_value().map(|(id, _)| id.at)
    }
}
