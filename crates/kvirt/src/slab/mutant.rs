//! Mistakes that the models must catch.
//!
//! Each marks a place where one ordering or one check carries a protocol. In a
//! model run a mutant can be switched on, and the model must then fail; in every
//! other build the questions below have constant answers and vanish.

use foliant_platform::sync::atomic::Ordering;

/// A seeded mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// What is one CPU's is used although someone uses it.
    EnterAnyway,
    /// Objects are taken out of the depot after a look without its lock.
    DepotUnlocked,
    /// A slab is looked up by its shard once, and not again under the lock.
    ShardOnce,
    /// A slab changes its shard without the lock of the old one.
    StealUnlocked,
    /// An empty slab's frames are given back while it is still listed.
    ReleaseListed,
    /// A slab of objects that readers may see is released without waiting.
    ReleaseAtOnce,
    /// The grace period begins before the slab was taken from the lists.
    StampEarly,
    /// The number of a new cache is found, but not claimed.
    PlaceNotClaimed,
    /// Early bytes are taken by a load and a store.
    EarlyInTwoSteps,
    /// A value is installed over another.
    InstallOver,
    /// A value is installed without its content.
    InstallRelaxed,
}

/// `right`, or relaxed if the mutant is on.
#[inline(always)]
pub(crate) fn ordering(mutant: Mutant, right: Ordering) -> Ordering {
    if is_on(mutant) { Ordering::Relaxed } else { right }
}

#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(all(test, loom))]
pub(crate) use seeded::{is_on, survives};

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

    /// Runs a model with a mutant and tells whether the model failed to notice.
    pub(crate) fn survives(mutant: Mutant, model: impl Fn()) -> bool {
        ON.set(Some(mutant));
        let survived = catch_unwind(AssertUnwindSafe(model)).is_ok();
        ON.set(None);
        survived
    }
}
