//! Mistakes that the models of this crate must catch; outside of the models
//! every question below is answered `false` by the compiler.

use super::atomic::Ordering;

/// A seeded mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mutant {
    /// The flag is taken by a load and a store.
    EnterInTwoSteps,
    /// Who enters does not see what the last one changed.
    EnterRelaxed,
    /// The next one to enter does not see what this one changed.
    LeaveRelaxed,
    /// The lock is taken by a load and a store.
    LockInTwoSteps,
    /// Who takes the lock does not see what the last holder did.
    LockRelaxed,
    /// The next holder of the lock does not see what this one did.
    OpenRelaxed,
}

/// `right`, or relaxed if the mutant is on.
#[inline(always)]
pub(super) fn ordering(mutant: Mutant, right: Ordering) -> Ordering {
    if is_on(mutant) { Ordering::Relaxed } else { right }
}

/// Whether `mutant` is to be acted out.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(all(test, loom))]
pub(super) use seeded::{holds_and_catches, is_on};

#[cfg(all(test, loom))]
mod seeded {
    extern crate std;

    use core::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Mutant;

    std::thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether a mutant is on, in the model that this thread runs.
    pub(in super::super) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// Checks that the model holds, and that it fails with each mutant.
    pub(in super::super) fn holds_and_catches(
        model: impl Fn() + Sync + Send + Copy + 'static,
        mutants: &[Mutant],
    ) {
        loom::model(model);
        for &mutant in mutants {
            ON.set(Some(mutant));
            let survived = catch_unwind(AssertUnwindSafe(|| loom::model(model))).is_ok();
            ON.set(None);
            assert!(!survived, "{mutant:?} went unnoticed");
        }
    }
}
