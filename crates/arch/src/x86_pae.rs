//! i386 with physical address extension: 2-9-9-12 bits, words of eight bytes,
//! pages of 4 KiB and 2 MiB (Intel SDM volume 3, 4.4 "PAE paging").

use foliant_units::{Pfn, PhysAddr};

use crate::access::{Access, ErrorCode};
use crate::format::{Entry, Format, Refusal};
use crate::geometry::{Above, Geometry, LevelShape};
use crate::kernel_leaf::{CacheMode, KernelFormat, KernelProt};
use crate::level::Level;
use crate::x86_64::{Control, Pte, PteFlags, Rights, X86_64, describe};
use crate::x86_legacy::without_keys;

/// PAE paging. Its top table has four entries and is aligned to 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct X86Pae;

impl X86Pae {
    /// Whether loading CR3 accepts `entry` in the top table; if not, it is a
    /// general protection fault. A walk does not look at these bits again
    /// (4.4.1 "PDPTE registers").
    pub fn accepts_top(entry: Pte, control: &Control) -> bool {
        let reserved = TOP_RESERVED | control.beyond_memory(RESERVED_TOP) | PteFlags::NO_EXECUTE.bits();
        !entry.is_present() || entry.raw() & reserved == 0
    }
}

/// Bits 1, 2 and 5 to 8 of an entry of the top table are reserved (table 4-8).
const TOP_RESERVED: u64 = 0b1_1110_0110;
/// The highest bit of an address or reserved bit; above it is only NX.
const RESERVED_TOP: u32 = 63;

impl Format for X86Pae {
    type Entry = Pte;
    type Rights = Rights;
    type Control = Control;

    const GEOMETRY: Geometry = Geometry {
        levels: [
            LevelShape::new(12, 9, true),
            LevelShape::new(21, 9, true),
            LevelShape::folded(30),
            LevelShape::folded(30),
            LevelShape::new(30, 2, false),
        ],
        entry_bytes: 8,
        address_bits: 32,
        above: Above::Clear,
    };

    const OPEN: Rights = Rights::OPEN;
    /// CR3 has 32 bits.
    const TABLE_BITS: u32 = 32;

    #[inline]
    fn link(table: PhysAddr, level: Level) -> Pte {
        let link = <Pte as Entry>::link(table, level);
        match level {
            // The bits for rights are reserved there.
            Level::PGD => Pte::from_raw(link.raw() & !TOP_RESERVED),
            _ => link,
        }
    }

    #[inline]
    fn narrow(rights: Rights, entry: Pte, level: Level) -> Rights {
        // The entries of the top table have no rights.
        if level == Level::PGD {
            return rights;
        }
        Rights {
            key: 0,
            ..X86_64::narrow(rights, entry, level)
        }
    }

    #[inline]
    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        let beyond = control.beyond_memory(RESERVED_TOP);
        let no_execute = PteFlags::NO_EXECUTE.bits();
        let more = match level {
            // Checked when CR3 was loaded, not by a walk.
            Level::PGD => return false,
            Level::PMD if entry.is_large() => (1 << 21) - (1 << 13),
            _ => 0,
        };
        let no_execute = if control.no_execute { 0 } else { no_execute };
        // Entries have addresses of up to 52 bits and no bits for software above.
        let above = ((1 << RESERVED_TOP) - 1) & (!0 << crate::x86_64::MAX_PHYS_BITS);
        entry.raw() & (beyond | above | no_execute | more) != 0
    }

    #[inline]
    fn touch(entry: Pte, level: Level, written: bool, _control: &Control) -> Pte {
        // The top table is read when CR3 is loaded; its entries are not marked.
        if level == Level::PGD {
            entry
        } else {
            entry.touched(written)
        }
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        rights.permit(access, &without_keys(control))
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
/// As on x86-64: the leaves are the same.
impl KernelFormat for X86Pae {
    fn kernel_leaf(frame: Pfn, level: Level, prot: KernelProt) -> Pte {
        X86_64::kernel_leaf(frame, level, prot)
    }

    fn cache_mode(leaf: Pte, level: Level) -> CacheMode {
        X86_64::cache_mode(leaf, level)
    }
}
