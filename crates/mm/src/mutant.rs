//! Mistakes that the models of this crate must catch; outside of the models
//! every question below is answered `false` by the compiler.

use foliant_platform::sync::atomic::Ordering;

/// A seeded mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// A reader of the published value does not see what was published before it came.
    ReaderEntersRelaxed,
    /// Who drops a value does not see that its readers are done.
    ReaderLeavesRelaxed,
    /// A value is published without its content.
    PublishRelaxed,
    /// Who drops a value looks at its readers without waiting for what they did.
    DrainRelaxed,
    /// Who takes pages away looks for tables before others can see that.
    BeginUnfenced,
    /// A fault compares the layout before others can see its table.
    CompareUnfenced,
    /// A mover looks at the mappings before it looks at the references.
    MappingsFirst,
    /// A setting of one size is changed by a load and a store, over another's.
    SizeInTwoSteps,
    /// A copy becomes writable whoever else has it.
    NotCounted,
    /// Who claims a frame does not see what its last other holder did.
    ClaimUnfenced,
}

/// `right`, or relaxed if the mutant is on.
#[inline(always)]
pub(crate) fn ordering(mutant: Mutant, right: Ordering) -> Ordering {
    if is_on(mutant) { Ordering::Relaxed } else { right }
}

/// Whether `mutant` is to be acted out.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(all(test, loom))]
pub(crate) use seeded::{holds_and_catches, is_on};

#[cfg(all(test, loom))]
mod seeded {
    use core::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Mutant;

    std::thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether a mutant is on, in the model that this thread runs.
    pub(crate) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    fn explore(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Checks that the model holds, and that it fails with each mutant.
    pub(crate) fn holds_and_catches<F: Fn() + Sync + Send + Copy + 'static>(model: F, mutants: &[Mutant]) {
        explore(model);
        for &mutant in mutants {
            ON.set(Some(mutant));
            let outcome = catch_unwind(AssertUnwindSafe(|| explore(model)));
            ON.set(None);
            assert!(outcome.is_err(), "{mutant:?} went unnoticed");
        }
    }
}
