//! What a process does on a signal, and the stack it does it on.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::SigSet;

bitflags! {
    /// Flags of a [`SigAction`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct SigActionFlags: u64 {
        /// No `SIGCHLD` when a child stops.
        const NOCLDSTOP = 0x1;
        /// Children do not become zombies.
        const NOCLDWAIT = 0x2;
        /// The handler takes three arguments.
        const SIGINFO = 0x4;
        /// Bit that says "unknown bits are cleared when read back".
        const UNSUPPORTED = 0x400;
        /// Tag bits of addresses are kept.
        const EXPOSE_TAGBITS = 0x800;
        /// `restorer` is set (always, on x86-64).
        const RESTORER = 0x0400_0000;
        /// On the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Interrupted calls restart.
        const RESTART = 0x1000_0000;
        /// Not blocked while it is handled.
        const NODEFER = 0x4000_0000;
        /// Back to the default when it is delivered.
        const RESETHAND = 0x8000_0000;
    }
}

/// The kernel's `struct sigaction`, as `rt_sigaction(2)` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigAction {
    /// Address of the handler, or [`SigAction::DEFAULT`] or [`SigAction::IGNORE`].
    pub handler: u64,
    /// [`SigActionFlags`].
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

impl SigAction {
    /// `SIG_DFL`.
    pub const DEFAULT: u64 = 0;
    /// `SIG_IGN`.
    pub const IGNORE: u64 = 1;

    /// The flags, unknown ones kept.
    pub const fn flags(&self) -> SigActionFlags {
        SigActionFlags::from_bits_retain(self.flags)
    }
}

bitflags! {
    /// State of an alternate signal stack.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct AltStackFlags: u32 {
        /// In use now (only reported).
        const ONSTACK = 1;
        /// None set.
        const DISABLE = 2;
        /// Disarmed while a handler runs on it.
        const AUTODISARM = 0x8000_0000;
    }
}

/// The argument of `sigaltstack(2)`: `stack_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AltStack {
    /// Lowest address.
    pub sp: u64,
    /// [`AltStackFlags`].
    pub flags: u32,
    /// Padding.
    pub pad: u32,
    /// Bytes.
    pub size: u64,
}

impl AltStack {
    /// Smallest size accepted without `AT_MINSIGSTKSZ`.
    pub const MIN_SIZE: u64 = 2048;

    /// No alternate stack.
    pub const NONE: Self = Self {
        sp: 0,
        flags: AltStackFlags::DISABLE.bits(),
        pad: 0,
        size: 0,
    };
}

impl Default for AltStack {
    fn default() -> Self {
        Self::NONE
    }
}

/// How `rt_sigprocmask(2)` changes the mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum MaskHow {
    /// Adds to it.
    Block = 0,
    /// Removes from it.
    Unblock = 1,
    /// Replaces it.
    Set = 2,
}

impl MaskHow {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Block),
            1 => Some(Self::Unblock),
            2 => Some(Self::Set),
            _ => None,
        }
    }
}
