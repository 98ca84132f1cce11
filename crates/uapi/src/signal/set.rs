//! Sets of signals.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Signal;

/// A set of signals: bit `n - 1` for signal `n`. The kernel's `sigset_t`, 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(u64::MAX);
    /// `SIGKILL` and `SIGSTOP`, which cannot be blocked.
    pub const UNBLOCKABLE: Self = Self(1 << 8 | 1 << 18);

    /// From the bits of the ABI.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the ABI.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set with just `signal`.
    pub const fn only(signal: Signal) -> Self {
        Self(1 << signal.index())
    }

    /// Whether `signal` is in.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::only(signal).0 != 0
    }

    /// This set with `signal`.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | Self::only(signal).0)
    }

    /// This set without `signal`.
    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !Self::only(signal).0)
    }

    /// Adds `signal`.
    pub fn insert(&mut self, signal: Signal) {
        *self = self.with(signal);
    }

    /// Removes `signal`.
    pub fn remove(&mut self, signal: Signal) {
        *self = self.without(signal);
    }

    /// Signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Signals of this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no signal is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal.
    pub const fn first(self) -> Option<Signal> {
        if self.0 == 0 {
            None
        } else {
            Signal::from_raw(self.0.trailing_zeros() as i32 + 1)
        }
    }

    /// Its signals in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let next = rest.first()?;
            rest.remove(next);
            Some(next)
        })
    }
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_start_at_signal_one() {
        assert_eq!(SigSet::only(Signal::HUP).bits(), 1);
        assert_eq!(SigSet::UNBLOCKABLE, SigSet::only(Signal::KILL).with(Signal::STOP));
        assert_eq!(SigSet::ALL.iter().count(), 64);
        assert_eq!(SigSet::EMPTY.first(), None);
    }
}
