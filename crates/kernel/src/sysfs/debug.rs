//! `/sys/kernel/debug`: what the memory manager tells those who look for faults.

use alloc::string::{String, ToString};
use alloc::sync::Weak;
use alloc::vec::Vec;

use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::text::{ExtfragKind, Text as _};
use foliant_units::Errno;

use crate::fs::Caller;
use crate::fs::pseudo::TextSource;
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::procfs::{integer, zones};

/// Below this everything is about owners, and there only where they are
/// remembered.
const OWNERS: &[u8] = b"kernel/debug/page_owner";

/// A file that is made when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    ExtfragIndex,
    UnusableIndex,
    PageOwner,
    PageOwnerStacks,
    /// From how many frames on these are shown.
    PageOwnerThreshold,
}

impl Name {
    pub(super) const ALL: [Self; 5] = [
        Self::ExtfragIndex,
        Self::UnusableIndex,
        Self::PageOwner,
        Self::PageOwnerStacks,
        Self::PageOwnerThreshold,
    ];

    /// The path below `/sys`.
    pub(super) const fn path(self) -> &'static [u8] {
        match self {
            Self::ExtfragIndex => b"kernel/debug/extfrag/extfrag_index",
            Self::UnusableIndex => b"kernel/debug/extfrag/unusable_index",
            Self::PageOwner => b"kernel/debug/page_owner",
            Self::PageOwnerStacks => b"kernel/debug/page_owner_stacks/show_stacks",
            Self::PageOwnerThreshold => b"kernel/debug/page_owner_stacks/count_threshold",
        }
    }

    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::ExtfragIndex | Self::UnusableIndex => 0o444,
            Self::PageOwner | Self::PageOwnerStacks => 0o400,
            Self::PageOwnerThreshold => 0o600,
        }
    }

    pub(super) fn of(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.path() == path)
    }
}

/// Whether this machine has what is at `path`, a file or directory of these.
pub(super) fn is_there<M: UserMachine>(kernel: &Weak<Kernel<M>>, path: &[u8]) -> bool {
    let tracks = |kernel: &Weak<Kernel<M>>| kernel.upgrade().is_some_and(|kernel| tracks_owners(&kernel));
    !path.starts_with(OWNERS) || tracks(kernel)
}

fn tracks_owners<M: UserMachine>(kernel: &Kernel<M>) -> bool {
    kernel.memory().phys().tracks_owners()
}

/// A file of a machine.
pub(super) struct File<M: UserMachine> {
    pub(super) kernel: Weak<Kernel<M>>,
    pub(super) name: Name,
}

impl<M: UserMachine> TextSource for File<M> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        let phys = kernel.memory().phys();
        let threshold = || kernel.owner_threshold.load(Ordering::Relaxed);
        let mut text = String::new();
        // A string takes what it is given.
        let _ = match self.name {
            Name::ExtfragIndex => return Ok(zones::extfrag(phys, ExtfragKind::Index).to_bytes()),
            Name::UnusableIndex => return Ok(zones::extfrag(phys, ExtfragKind::Unusable).to_bytes()),
            Name::PageOwner => phys.write_page_owner(&mut text),
            Name::PageOwnerStacks => phys.write_page_owner_stacks(threshold(), &mut text),
            // Without an end of line, as Linux has it.
            Name::PageOwnerThreshold => return Ok(threshold().to_string().into_bytes()),
        };
        Ok(text.into_bytes())
    }

    fn write(&self, text: &[u8], _: Caller) -> Result<(), Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        match self.name {
            Name::PageOwnerThreshold => {
                let frames = u64::try_from(integer(text)?).map_err(|_| Errno::INVAL)?;
                kernel.owner_threshold.store(frames, Ordering::Relaxed);
                Ok(())
            }
            // Nobody can open them for writing but those whom modes do not bind.
            Name::ExtfragIndex | Name::UnusableIndex | Name::PageOwner | Name::PageOwnerStacks => {
                Err(Errno::INVAL)
            }
        }
    }
}
