//! Not compacting again what did not help the last times.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::Order;

/// At most every 64th request is tried.
const MAX_SHIFT: u32 = 6;

/// How often compaction of a zone failed, and how often it was not tried since.
///
/// # Locking
/// None: lost counts cost or save an attempt.
///
/// # Linux source concept
/// `compact_considered`, `compact_defer_shift` and `compact_order_failed` of
/// `struct zone`.
#[derive(Debug, Default)]
pub(crate) struct Deferral {
    considered: AtomicU32,
    shift: AtomicU32,
    /// The smallest order that failed.
    failed: AtomicU32,
}

impl Deferral {
    /// Compaction for `order` failed: fewer are tried from now on.
    ///
    /// # Linux source concept
    /// `defer_compaction()`.
    pub(crate) fn defer(&self, order: Order) {
        self.considered.store(0, Ordering::Relaxed);
        let shift = self.shift.load(Ordering::Relaxed);
        self.shift.store((shift + 1).min(MAX_SHIFT), Ordering::Relaxed);
        self.failed.fetch_min(order.raw().into(), Ordering::Relaxed);
    }

    /// Whether a request of `order` goes without; counts those that do.
    ///
    /// # Linux source concept
    /// `compaction_deferred()`.
    pub(crate) fn is_deferred(&self, order: Order) -> bool {
        if u32::from(order.raw()) < self.failed.load(Ordering::Relaxed) {
            return false;
        }
        let limit = 1 << self.shift.load(Ordering::Relaxed);
        let considered = self.considered.load(Ordering::Relaxed) + 1;
        self.considered.store(considered.min(limit), Ordering::Relaxed);
        considered < limit
    }

    /// There is a folio of `order` now, or, if it was `allocated`, was.
    ///
    /// # Linux source concept
    /// `compaction_defer_reset()`.
    pub(crate) fn reset(&self, order: Order, allocated: bool) {
        if allocated {
            self.considered.store(0, Ordering::Relaxed);
            self.shift.store(0, Ordering::Relaxed);
        }
        self.failed
            .fetch_max(u32::from(order.raw()) + 1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_requests_that_go_without() {
        let deferral = Deferral::default();
        let tried = |requests: u32| {
            (0..requests)
                .filter(|_| !deferral.is_deferred(Order::PMD))
                .count()
        };
        assert_eq!(tried(10), 10);
        deferral.defer(Order::PMD);
        assert!(deferral.is_deferred(Order::PMD) && !deferral.is_deferred(Order::PMD));
        for _ in 0..10 {
            deferral.defer(Order::PMD);
        }
        assert_eq!(tried(63), 0);
        assert_eq!(tried(1), 1);
    }

    #[test]
    fn success_lets_all_smaller_orders_be_tried() {
        let deferral = Deferral::default();
        let smaller = Order::new(4).unwrap_or_default();
        deferral.reset(smaller, false);
        deferral.defer(Order::PMD);
        assert!(!deferral.is_deferred(smaller), "it never failed");
        assert!(deferral.is_deferred(Order::PMD));
        deferral.reset(Order::PMD, true);
        assert!(!deferral.is_deferred(Order::PMD));
    }
}
