//! Mistakes that the models of this crate must catch; outside of the models
//! every question below is answered `false` by the compiler.

/// A seeded mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// Addresses and frames are given back before their flush.
    GiveBeforeFlush,
    /// Who finds no addresses does not wait for purges under way.
    PurgeWithoutTurn,
    /// Slots of the pkmap are used again without a flush.
    WrapWithoutFlush,
    /// A waiter of the pkmap takes its ticket after it has looked.
    TicketAfterLook,
    /// Who unmaps does not wake those who wait.
    UnmapWithoutWake,
    /// A local slot is taken by a load and a store.
    LocalInTwoSteps,
    /// A cached stack is taken by a load and a store.
    StackInTwoSteps,
    /// A stack is cached over one that is there.
    StackOverwritten,
    /// A part of a block is handed out by a load and a store.
    BlockInTwoSteps,
    /// A block is retired by everyone who finds it unused.
    RetireTwice,
    /// A zone of addresses is given back before it is said whose it is.
    ZoneBeforeOwner,
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
    extern crate std;

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
        builder.max_branches = 20_000;
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
