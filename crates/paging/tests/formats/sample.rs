//! What the tests need of a format beside what it says itself.

use foliant_arch::arm64::{Arm64, Descriptor, DescriptorFlags};
use foliant_arch::ept::{Ept, EptEntry, EptFlags};
use foliant_arch::npt::Npt;
use foliant_arch::x86_64::{Pte, PteFlags, X86_64, X86_64La57};
use foliant_arch::x86_legacy::{LegacyEntry, X86Legacy};
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Entry, Format, Level};
use foliant_units::Pfn;

/// Leaves for programs.
pub(crate) trait Sample: Format<Control: Default> {
    /// Maps what begins at `frame`, to be read and written.
    fn leaf(frame: Pfn, level: Level) -> Self::Entry;
    /// The same leaf, to be read only.
    fn read_only(leaf: Self::Entry) -> Self::Entry;
}

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);

fn long_leaf(frame: Pfn, level: Level) -> Pte {
    match level {
        Level::PTE => Pte::new(frame, RW),
        _ => Pte::new(frame, RW | PteFlags::LARGE),
    }
}

/// Formats whose entries are those of long mode.
macro_rules! long {
    ($($format:ty),+) => {$(
        impl Sample for $format {
            fn leaf(frame: Pfn, level: Level) -> Pte {
                long_leaf(frame, level)
            }

            fn read_only(leaf: Pte) -> Pte {
                leaf.without(PteFlags::WRITE)
            }
        }
    )+};
}

long!(X86_64, X86_64La57, Npt<false>, Npt<true>, X86Pae);

impl Sample for X86Legacy {
    fn leaf(frame: Pfn, level: Level) -> LegacyEntry {
        match level {
            Level::PTE => LegacyEntry::page(frame, RW),
            _ => LegacyEntry::large(frame, RW),
        }
    }

    fn read_only(leaf: LegacyEntry) -> LegacyEntry {
        LegacyEntry::from_raw(leaf.raw() & !PteFlags::WRITE.bits())
    }
}

impl<const FIVE: bool> Sample for Ept<FIVE> {
    fn leaf(frame: Pfn, level: Level) -> EptEntry {
        EptEntry::leaf(frame, level, EptFlags::ALL | EptFlags::WRITE_BACK)
    }

    fn read_only(leaf: EptEntry) -> EptEntry {
        EptEntry::from_raw(leaf.raw() & !EptFlags::WRITE.bits())
    }
}

impl<const GRANULE: u32, const BITS: u32> Sample for Arm64<GRANULE, BITS> {
    fn leaf(frame: Pfn, level: Level) -> Self::Entry {
        let flags = DescriptorFlags::VALID
            | DescriptorFlags::USER
            | DescriptorFlags::ACCESSED
            | DescriptorFlags::NOT_GLOBAL
            | DescriptorFlags::KERNEL_NO_EXECUTE;
        Descriptor::leaf(frame, level, flags)
    }

    fn read_only(leaf: Self::Entry) -> Self::Entry {
        Descriptor::from_raw(leaf.raw() | DescriptorFlags::READ_ONLY.bits())
    }
}
