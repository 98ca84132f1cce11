//! What was counted for each size.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{MAX_ORDER, Order};

/// What happens to a fault that may use a size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ThpEvent {
    /// It filled a block of that size (`anon_fault_alloc`).
    Filled,
    /// There was no memory for one; it tried the next smaller size
    /// (`anon_fault_fallback`).
    Fallback,
}

const EVENTS: usize = 2;
const ORDERS: usize = MAX_ORDER.index() + 1;

/// Events by size, since boot.
#[derive(Default, Debug)]
pub(super) struct Stats {
    by_order: [[AtomicU64; EVENTS]; ORDERS],
}

impl Stats {
    pub(super) fn count(&self, order: Order, event: ThpEvent) {
        self.by_order[order.index()][event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, order: Order, event: ThpEvent) -> u64 {
        self.by_order[order.index()][event as usize].load(Ordering::Relaxed)
    }
}
