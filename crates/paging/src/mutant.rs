//! Faults that the models seed, to show that they would be noticed.
//!
//! Outside of the models [`seeded`] is a constant `false`, and nothing of this
//! reaches the compiled code.

/// One thing done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// A detached table is locked like an open one.
    LockDetached,
    /// A new table is linked before it is cleared.
    LinkUncleared,
    /// The link to a new table does not publish its content.
    LinkRelaxed,
    /// The lock is given back without publishing.
    UnlockRelaxed,
    /// A new table is linked without looking whether somebody else was faster.
    LinkBlindly,
    /// A table is detached because it was empty before it was locked.
    DetachBlindly,
    /// A table is freed without waiting for descents.
    FreeAtOnce,
    /// A table is freed one epoch early.
    FreeEarly,
    /// The epoch moves though descents are counted.
    AdvanceBlindly,
    /// A pin is taken without a second look at the clock.
    PinOnce,
    /// A pin is given back without ordering the reads before.
    UnpinRelaxed,
    /// Unlinked tables pile up behind a descent.
    NeverHoldBack,
    /// Descents are waited for under a pin.
    FlushPinned,
    /// An entry is changed by reading and storing.
    UpdateByStore,
    /// A large mapping is split as it was when first looked at.
    SplitByStore,
    /// A top entry is copied without the lock of the root.
    SyncWithoutLock,
    /// The frames are given back before the flush.
    PutBeforeFlush,
}

/// Whether `mutant` is to be acted out.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) const fn seeded(_mutant: Mutant) -> bool {
    false
}

#[cfg(all(test, loom))]
pub(crate) use crate::models::seeded;
