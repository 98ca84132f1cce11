//! `/sys/kernel/debug`: what the memory manager tells those who look for faults.

use alloc::string::String;
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
    /// There only where owners are remembered.
    PageOwner,
}

impl File {
    pub(super) const ALL: [Self; 3] = [Self::ExtfragIndex, Self::UnusableIndex, Self::PageOwner];

    /// The path below `/sys`.
    pub(super) const fn path(self) -> &'static [u8] {
        match self {
            Self::ExtfragIndex => b"kernel/debug/extfrag/extfrag_index",
            Self::UnusableIndex => b"kernel/debug/extfrag/unusable_index",
            Self::PageOwner => b"kernel/debug/page_owner",
        }
    }

    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::ExtfragIndex | Self::UnusableIndex => 0o444,
            Self::PageOwner => 0o400,
        }
    }

    pub(super) fn of(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.path() == path)
    }

    /// Whether this machine has it.
    pub(super) fn is_there<M: UserMachine>(self, kernel: &Kernel<M>) -> bool {
        self != Self::PageOwner || kernel.memory().phys().tracks_owners()
    }

    pub(super) fn text<M: UserMachine>(self, kernel: &Kernel<M>) -> Vec<u8> {
        let phys = kernel.memory().phys();
        match self {
            Self::ExtfragIndex => zones::extfrag(phys, ExtfragKind::Index).to_bytes(),
            Self::UnusableIndex => zones::extfrag(phys, ExtfragKind::Unusable).to_bytes(),
            Self::PageOwner => {
                let mut text = String::new();
                // A string takes what it is given.
                let _ = phys.write_page_owner(&mut text);
                text.into_bytes()
            }
        }
    }
}
