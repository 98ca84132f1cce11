//! Sets of signals.

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

use super::number::Signal;

/// A `sigset_t` as the kernel has it: 64 bits, signal 1 in bit 0.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// The two that cannot be blocked.
    pub const ABSOLUTE: Self = Self(1 << (Signal::KILL.raw() - 1) | 1 << (Signal::STOP.raw() - 1));
    /// The four that stop a process by default.
    pub const STOPS: Self = Self(
        1 << (Signal::STOP.raw() - 1)
            | 1 << (Signal::TSTP.raw() - 1)
            | 1 << (Signal::TTIN.raw() - 1)
            | 1 << (Signal::TTOU.raw() - 1),
    );
    /// Those that an instruction of the task itself causes; delivered first.
    pub const SYNCHRONOUS: Self = Self(
        1 << (Signal::SEGV.raw() - 1)
            | 1 << (Signal::BUS.raw() - 1)
            | 1 << (Signal::ILL.raw() - 1)
            | 1 << (Signal::TRAP.raw() - 1)
            | 1 << (Signal::FPE.raw() - 1)
            | 1 << (Signal::SYS.raw() - 1),
    );

    /// From the bits of the ABI.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the ABI.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Only `signal`.
    pub const fn only(signal: Signal) -> Self {
        Self(1 << signal.index())
    }

    /// Whether `signal` is inside.
    pub const fn has(self, signal: Signal) -> bool {
        self.0 & Self::only(signal).0 != 0
    }

    /// Whether nothing is inside.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// With `signal`.
    pub fn add(&mut self, signal: Signal) {
        self.0 |= Self::only(signal).0;
    }

    /// Without `signal`.
    pub fn remove(&mut self, signal: Signal) {
        self.0 &= !Self::only(signal).0;
    }

    /// The members of `self` that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The lowest member.
    pub const fn first(self) -> Option<Signal> {
        Signal::new(self.0.trailing_zeros() as u64 + 1)
    }
}

impl BitOr for SigSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for SigSet {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for SigSet {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigSet({:016x})", self.0)
    }
}
