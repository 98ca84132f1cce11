//! Mistakes that the models must catch.
//!
//! Each marks a place where one ordering or one check carries a protocol. In a
//! model run a mutant can be switched on, and the model must then fail; in every
//! other build the questions below have constant answers and vanish.

use foliant_platform::sync::atomic::Ordering;

/// A seeded mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// A freed frame is published without its content.
    FreeRelaxed,
    /// A claimed frame is used without waiting for its content.
    ClaimRelaxed,
    /// Bits are claimed by a load and a store, over concurrent frees.
    ClaimStores,
    /// A claim is taken whether or not someone has it.
    ClaimShared,
    /// A failed attempt to claim ends the claim of whoever has it.
    ClaimEndsOther,
    /// The next claimant does not see what this one cleared.
    UnclaimRelaxed,
    /// A put does not publish what its holder did.
    PutRelaxed,
    /// A put that finds itself alone does not wait for what earlier holders did.
    PutAloneRelaxed,
    /// The last put does not wait for what the other holders did.
    PutWithoutFence,
    /// A reference is taken to what has none.
    TryGetRevives,
    /// A reference is tried for although the holder may count on being alone.
    TryGetUnfindable,
    /// A freeze looks and stores in two steps.
    FreezeInTwoSteps,
    /// An entry less is counted in two steps, over a concurrent entry more.
    UnmapInTwoSteps,
    /// What is one CPU's is used although someone uses it.
    EnterAnyway,
    /// Whether a block is open is looked at before its claim is taken.
    KindBeforeClaim,
    /// The short ways are opened on what was known before.
    OpenAfterLook,
    /// The last ring is remembered over a concurrent close.
    RememberStores,
    /// Who opens the short ways does not see why they were closed.
    CloseRelaxed,
    /// Whole blocks come without their content.
    WholePutRelaxed,
    /// Whole blocks are used without waiting for their content.
    WholeTakeRelaxed,
    /// Whole blocks are taken by a load and a store.
    WholeTakeStores,
    /// Whole blocks are given back by a load and a store, over their neighbours.
    WholePutStores,
    /// That a block was used is noted by a load and a store, over its neighbours.
    StaleStores,
    /// Who gives a whole block back does not look whether it was closed meanwhile.
    PutWithoutLook,
    /// Who takes a whole block does not look whether it was closed meanwhile.
    TakeWithoutLook,
    /// Who looks everywhere passes by what somebody is moving.
    LookPastClaim,
    /// Two movers of one block's level both believe that they succeeded.
    LevelStores,
    /// A block's kind is changed by a load and a store, over its level.
    KindInTwoSteps,
    /// An area is made of blocks that others may still take from.
    AreaOpen,
    /// A hint is given by a load and a store, over that of a neighbour.
    HintInTwoSteps,
    /// A count sticks only where it is about to change its meaning.
    StickLate,
    /// Flags are set by a load and a store.
    FlagsInTwoSteps,
    /// Who locks a frame does not see what the last holder did.
    LockRelaxed,
    /// The next holder of a frame's lock does not see what this one did.
    UnlockRelaxed,
    /// What is read of another CPU's ring is taken to be of one moment.
    CountWraps,
    /// A CPU's difference is folded in by a load and a store.
    FoldInTwoSteps,
    /// A request to a compaction thread is left by a load and a store.
    AskInTwoSteps,
    /// A compaction thread looks what was asked, and forgets it later.
    AnswerInTwoSteps,
    /// A piece of a table is published without its content.
    PieceRelaxed,
    /// A section is said to be there without what was done before.
    SectionRelaxed,
    /// Memory of a device ends although somebody has some of it.
    EndTaken,
    /// A device's folio is taken while its last holder still clears its record.
    TakeHalfEnded,
    /// Memory of a device is taken after its end.
    TakeEnded,
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
