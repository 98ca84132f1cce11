//! Unlinked tables between their flush and their end.

use foliant_platform::sync::atomic::Ordering;
use foliant_units::Pfn;

use crate::epoch::Epoch;
use crate::store::{Header, Store};

/// End of a list: no frame has this number, because record links have 32 bits
/// and the last frame of a 16 TiB machine is never a table.
const NONE: u32 = u32::MAX;

/// Tables that were unlinked in one epoch, linked through their headers.
#[derive(Debug)]
struct Bag {
    stamp: usize,
    first: u32,
}

/// All tables of a space that wait. Under a lock of its own, which is taken
/// with no other lock held.
#[derive(Debug)]
pub(crate) struct Limbo {
    bags: [Bag; 3],
    waiting: usize,
}

impl Limbo {
    pub(crate) fn new() -> Self {
        Self {
            bags: [const {
                Bag {
                    stamp: 0,
                    first: NONE,
                }
            }; 3],
            waiting: 0,
        }
    }

    /// How many tables wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds an unlinked and flushed table.
    pub(crate) fn add<S: Store>(&mut self, store: &S, stamp: usize, table: Pfn) {
        let bag = stamp % 3;
        if self.bags[bag].stamp != stamp {
            // Three epochs older than now: nobody sees those any more.
            self.empty(store, bag);
            self.bags[bag].stamp = stamp;
        }
        let bag = &mut self.bags[bag];
        store.header(table).next().store(bag.first, Ordering::Relaxed);
        bag.first = table.raw() as u32;
        self.waiting += 1;
    }

    /// Frees the tables that nobody can see at epoch `now`.
    pub(crate) fn collect<S: Store>(&mut self, store: &S, now: usize) {
        for bag in 0..self.bags.len() {
            if Epoch::is_over(self.bags[bag].stamp, now) {
                self.empty(store, bag);
            }
        }
    }

    /// Frees everything: the space is gone and nobody descends.
    pub(crate) fn collect_all<S: Store>(&mut self, store: &S) {
        for bag in 0..self.bags.len() {
            self.empty(store, bag);
        }
    }

    fn empty<S: Store>(&mut self, store: &S, bag: usize) {
        let mut at = core::mem::replace(&mut self.bags[bag].first, NONE);
        while at != NONE {
            let table = Pfn::new(u64::from(at));
            at = store.header(table).next().load(Ordering::Relaxed);
            // It was detached because it had no entry, and got none since.
            store.release_empty(table);
            self.waiting -= 1;
        }
    }
}
