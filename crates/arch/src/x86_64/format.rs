//! Geometry, and how rights narrow from level to level.

use core::marker::PhantomData;

use foliant_platform::{FiveLevels, FourLevels, Levels};

use super::control::{Control, Rights, describe};
use super::flags::PteFlags;
use super::pte::{MAX_PHYS_BITS, Pte};
use crate::access::{Access, ErrorCode};
use crate::format::{Format, Refusal};
use crate::geometry::{Above, Geometry, LevelShape};
use crate::level::Level;

/// x86-64 paging with four levels or five, as `L` says (Intel SDM volume 3,
/// 4.5 "4-level paging and 5-level paging").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LongMode<L>(PhantomData<L>);

/// Four levels: 48-bit addresses.
pub type X86_64 = LongMode<FourLevels>;
/// Five levels (CR4.LA57): 57-bit addresses.
pub type X86_64La57 = LongMode<FiveLevels>;

/// Tables of 512 entries of eight bytes, with leaves of 4 KiB, 2 MiB and 1 GiB.
pub(crate) const fn geometry(five: bool, above: Above) -> Geometry {
    Geometry {
        levels: [
            LevelShape::new(12, 9, true),
            LevelShape::new(21, 9, true),
            LevelShape::new(30, 9, true),
            if five {
                LevelShape::new(39, 9, false)
            } else {
                LevelShape::folded(39)
            },
            LevelShape::new(if five { 48 } else { 39 }, 9, false),
        ],
        entry_bytes: 8,
        address_bits: if five { 57 } else { 48 },
        above,
    }
}

impl<L: Levels> Format for LongMode<L> {
    type Entry = Pte;
    type Rights = Rights;
    type Control = Control;

    const GEOMETRY: Geometry = geometry(L::FIVE, Above::Sign);

    const OPEN: Rights = Rights::OPEN;

    #[inline]
    fn narrow(rights: Rights, entry: Pte, _level: Level) -> Rights {
        let flags = PteFlags::from_bits_truncate(entry.raw());
        Rights {
            write: rights.write && flags.contains(PteFlags::WRITE),
            user: rights.user && flags.contains(PteFlags::USER),
            execute: rights.execute && !flags.contains(PteFlags::NO_EXECUTE),
            // The last entry passed is the leaf, the only one with a key.
            key: entry.key(),
        }
    }

    #[inline]
    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        let no_execute = if control.no_execute {
            0
        } else {
            PteFlags::NO_EXECUTE.bits()
        };
        let large = level != Level::PTE && entry.is_large();
        // Bit 12 of a large leaf is its PAT bit.
        let size = match level {
            Level::PMD if large => (1 << 21) - (1 << 13),
            Level::PUD if large && control.gigabyte_pages => (1 << 30) - (1 << 13),
            _ if large => PteFlags::LARGE.bits(),
            _ => 0,
        };
        entry.raw() & (control.beyond_memory(MAX_PHYS_BITS) | no_execute | size) != 0
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        rights.permit(access, control)
    }

    #[inline]
    fn describe(access: Access, control: &Control) -> ErrorCode {
        describe(access, control.no_execute || control.smep)
    }

    #[inline]
    fn exceeds(more: Rights, less: Rights) -> bool {
        more.exceed(less)
    }
}
