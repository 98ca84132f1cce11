//! `/sys/kernel/debug`: what the memory manager tells those who look for faults.

use alloc::vec::Vec;

use foliant_uapi::text::{ExtfragKind, Text as _};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::procfs::zones;

/// A file that is made when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum File {
    ExtfragIndex,
    UnusableIndex,
}

impl File {
    pub(super) const ALL: [Self; 2] = [Self::ExtfragIndex, Self::UnusableIndex];

    /// The path below `/sys`.
    pub(super) const fn path(self) -> &'static [u8] {
        match self {
            Self::ExtfragIndex => b"kernel/debug/extfrag/extfrag_index",
            Self::UnusableIndex => b"kernel/debug/extfrag/unusable_index",
        }
    }

    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::ExtfragIndex | Self::UnusableIndex => 0o444,
        }
    }

    pub(super) fn of(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.path() == path)
    }

    pub(super) fn text<M: UserMachine>(self, kernel: &Kernel<M>) -> Vec<u8> {
        let phys = kernel.memory().phys();
        match self {
            Self::ExtfragIndex => zones::extfrag(phys, ExtfragKind::Index).to_bytes(),
            Self::UnusableIndex => zones::extfrag(phys, ExtfragKind::Unusable).to_bytes(),
        }
    }
}
