//! How a fault notices that pages were taken away while it was not looking.
//!
//! Linux locks a page from its lookup until it is mapped. Here nothing is
//! locked in between: the fault notes the [`Layout`] before it looks a frame
//! up, and compares it under the lock of the leaf table before it maps the
//! frame. Whoever takes pages away lets the cache go of them first, then
//! begins, then visits the leaf tables of all mappings, then ends.

use foliant_platform::sync::atomic::{AtomicU64, Ordering, fence};

use crate::mutant::{Mutant, is_on};

/// How often pages were taken away from mappings; odd while that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout(u64);

impl Layout {
    /// Whether nobody is taking pages away.
    pub(crate) const fn is_calm(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// The current [`Layout`] of an object.
#[derive(Default, Debug)]
pub(super) struct LayoutGate(AtomicU64);

impl LayoutGate {
    /// The layout to compare with later.
    pub(super) fn now(&self) -> Layout {
        Layout(self.0.load(Ordering::SeqCst))
    }

    /// Whether nothing was taken away since `then`. Asked under the lock of
    /// the leaf table that the page goes in.
    pub(super) fn is_still(&self, then: Layout) -> bool {
        // Pairs with the fence in `begin`: either the visit sees the table that
        // was just made and locked, or this sees that the visit has begun.
        if !is_on(Mutant::CompareUnfenced) {
            fence(Ordering::SeqCst);
        }
        self.now() == then
    }

    /// Pages are being taken away. One at a time, under a lock of the caller.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !is_on(Mutant::BeginUnfenced) {
            fence(Ordering::SeqCst);
        }
    }

    /// All mappings were visited.
    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::mutant::holds_and_catches;
    use foliant_platform::sync::atomic::AtomicBool;
    use foliant_platform::sync::{Arc, SpinLock};

    /// An object of one page, mapped in one place, whose leaf table is yet to be made.
    #[derive(Default)]
    struct Machine {
        gate: LayoutGate,
        cached: SpinLock<bool>,
        table: AtomicBool,
        slot: SpinLock<bool>,
    }

    /// What a seeded mistake leaves out.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mistake {
        None,
        NoComparison,
        ComparedBeforeTheTable,
        VisitedBeforeTheCacheLetGo,
    }

    impl Machine {
        fn fault(&self, mistake: Mistake) {
            let then = self.gate.now();
            if !*self.cached.lock() {
                return;
            }
            let early = self.gate.is_still(then);
            self.table.store(true, Ordering::Release);
            let mut slot = self.slot.lock();
            let still = match mistake {
                Mistake::NoComparison => true,
                Mistake::ComparedBeforeTheTable => early,
                _ => self.gate.is_still(then),
            };
            if still {
                *slot = true;
            }
        }

        fn truncate(&self, mistake: Mistake) {
            let late = mistake == Mistake::VisitedBeforeTheCacheLetGo;
            if !late {
                *self.cached.lock() = false;
            }
            self.gate.begin();
            if self.table.load(Ordering::Acquire) {
                *self.slot.lock() = false;
            }
            if late {
                *self.cached.lock() = false;
            }
            self.gate.end();
        }
    }

    fn fault_while_truncated(mistake: Mistake) {
        let machine = Arc::new(Machine::default());
        *machine.cached.lock() = true;
        let faulting = machine.clone();
        let thread = loom::thread::spawn(move || faulting.fault(mistake));
        machine.truncate(mistake);
        thread.join().expect("the fault");
        assert!(!*machine.slot.lock(), "a page that is gone is mapped");
    }

    fn model(mistake: Mistake) {
        loom::model(move || fault_while_truncated(mistake));
    }

    #[test]
    fn loom_either_the_visit_sees_the_table_or_the_fault_the_visit() {
        holds_and_catches(
            || fault_while_truncated(Mistake::None),
            &[Mutant::BeginUnfenced, Mutant::CompareUnfenced],
        );
    }

    #[test]
    fn loom_a_page_that_was_taken_away_is_not_mapped() {
        model(Mistake::None);
    }

    #[test]
    #[should_panic(expected = "a page that is gone is mapped")]
    fn loom_mutant_without_the_comparison_is_caught() {
        model(Mistake::NoComparison);
    }

    #[test]
    #[should_panic(expected = "a page that is gone is mapped")]
    fn loom_mutant_that_compares_too_early_is_caught() {
        model(Mistake::ComparedBeforeTheTable);
    }

    #[test]
    #[should_panic(expected = "a page that is gone is mapped")]
    fn loom_mutant_that_visits_too_early_is_caught() {
        model(Mistake::VisitedBeforeTheCacheLetGo);
    }
}
