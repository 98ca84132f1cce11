//! i386 with two levels: 10-10-12 bits, words of four bytes, pages of 4 KiB
//! and 4 MiB (Intel SDM volume 3, 4.3 "32-bit paging").

use foliant_units::{Pfn, PhysAddr};

use crate::access::{Access, ErrorCode};
use crate::format::{Entry, Format, Next, Refusal};
use crate::geometry::{Above, Geometry, LevelShape};
use crate::kernel_leaf::{CacheMode, KernelFormat, KernelProt};
use crate::level::Level;
use crate::x86_64::{Control, Pte, PteFlags, Rights, X86_64, describe};

/// 32-bit paging without physical address extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct X86Legacy;

/// An entry: a PTE, or a PDE that is in the top table. Bits 0 to 8 are those
/// of [`PteFlags`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct LegacyEntry(u32);

const _: () = assert!(size_of::<LegacyEntry>() == 4, "the hardware reads four bytes");

/// Bits 12 to 31 of a PTE or of a link.
const FRAME_MASK: u32 = 0xffff_f000;
/// Bits 22 to 31 of a 4 MiB leaf.
const LARGE_MASK: u32 = 0xffc0_0000;
/// Bits 13 to 20 of a 4 MiB leaf: bits 32 to 39 of its address (PSE-36).
const HIGH_SHIFT: u32 = 13;
const HIGH_MASK: u32 = 0xff << HIGH_SHIFT;
/// Bit 21 of a 4 MiB leaf is reserved.
const LARGE_RESERVED: u32 = 1 << 21;
/// Bit 12 of a 4 MiB leaf, bit 7 of a PTE.
const PAT_LARGE: u32 = 1 << 12;
const PAT: u32 = 1 << 7;
/// The most physical address bits that a 4 MiB leaf has room for.
const MAX_PHYS_BITS: u32 = 40;

impl LegacyEntry {
    /// A PTE for `frame`, which lies below 4 GiB.
    pub const fn page(frame: Pfn, flags: PteFlags) -> Self {
        Self((frame.base().raw() as u32) & FRAME_MASK | flags.bits() as u32 & 0xfff)
    }

    /// A PDE that maps the 4 MiB that begin at `frame`, below 1 TiB.
    pub const fn large(frame: Pfn, flags: PteFlags) -> Self {
        let at = frame.base().raw();
        let high = ((at >> 32) as u32) << HIGH_SHIFT & HIGH_MASK;
        let flags = flags.bits() as u32 & 0xfff | PteFlags::LARGE.bits() as u32;
        Self(at as u32 & LARGE_MASK | high | flags)
    }

    /// The flags, those of bits 0 to 11.
    pub const fn flags(self) -> PteFlags {
        PteFlags::from_bits_truncate(self.0 as u64 & 0xfff)
    }

    const fn has(self, flags: PteFlags) -> bool {
        self.0 as u64 & flags.bits() == flags.bits()
    }

    const fn is_large(self, level: Level) -> bool {
        level.index() != Level::PTE.index() && self.has(PteFlags::LARGE)
    }
}

impl Entry for LegacyEntry {
    const EMPTY: Self = Self(0);

    #[inline]
    fn from_raw(raw: u64) -> Self {
        Self(raw as u32)
    }

    #[inline]
    fn raw(self) -> u64 {
        self.0.into()
    }

    #[inline]
    fn is_present(self) -> bool {
        self.has(PteFlags::PRESENT)
    }

    #[inline]
    fn is_table(self, level: Level) -> bool {
        Entry::is_present(self) && level != Level::PTE && !self.is_large(level)
    }

    #[inline]
    fn target(self, level: Level) -> PhysAddr {
        if self.is_large(level) {
            let high = u64::from((self.0 & HIGH_MASK) >> HIGH_SHIFT) << 32;
            PhysAddr::new(high | u64::from(self.0 & LARGE_MASK))
        } else {
            PhysAddr::new((self.0 & FRAME_MASK).into())
        }
    }

    #[inline]
    fn link(table: PhysAddr, _level: Level) -> Self {
        Self(table.raw() as u32 & FRAME_MASK | PteFlags::TABLE.bits() as u32)
    }

    #[inline]
    fn is_accessed(self) -> bool {
        self.has(PteFlags::ACCESSED)
    }

    #[inline]
    fn touched(self, written: bool) -> Self {
        let dirty = if written {
            PteFlags::DIRTY
        } else {
            PteFlags::empty()
        };
        Self(self.0 | (PteFlags::ACCESSED | dirty).bits() as u32)
    }

    #[inline]
    fn is_dirty(self) -> bool {
        self.has(PteFlags::DIRTY)
    }

    #[inline]
    fn is_global(self) -> bool {
        self.has(PteFlags::GLOBAL)
    }

    fn part(self, _below: Level, index: usize, frames: u64) -> Self {
        let first = self.target(Level::PGD).frame();
        let pat = if self.0 & PAT_LARGE != 0 { PAT } else { 0 };
        let page = Self::page(
            first + index as u64 * frames,
            self.flags().difference(PteFlags::LARGE),
        );
        Self(page.0 | pat)
    }
}

impl Format for X86Legacy {
    type Entry = LegacyEntry;
    type Rights = Rights;
    type Control = Control;

    const GEOMETRY: Geometry = Geometry {
        levels: [
            LevelShape::new(12, 10, true),
            LevelShape::folded(22),
            LevelShape::folded(22),
            LevelShape::folded(22),
            LevelShape::new(22, 10, true),
        ],
        entry_bytes: 4,
        address_bits: 32,
        above: Above::Clear,
    };

    const OPEN: Rights = Rights::OPEN;
    const TABLE_BITS: u32 = 32;

    #[inline]
    fn narrow(rights: Rights, entry: LegacyEntry, _level: Level) -> Rights {
        Rights {
            write: rights.write && entry.has(PteFlags::WRITE),
            user: rights.user && entry.has(PteFlags::USER),
            ..rights
        }
    }

    #[inline]
    fn is_reserved(entry: LegacyEntry, level: Level, control: &Control) -> bool {
        if !control.large_pages || !entry.is_large(level) {
            return false;
        }
        let top = control.physical_bits.clamp(32, MAX_PHYS_BITS);
        let beyond = HIGH_MASK & (HIGH_MASK << (top - 32));
        entry.0 & (LARGE_RESERVED | beyond) != 0
    }

    #[inline]
    fn follow(entry: LegacyEntry, level: Level, control: &Control) -> Next {
        match level {
            Level::PTE => Next::Memory(entry.target(level)),
            _ if control.large_pages && entry.is_large(level) => Next::Memory(entry.target(level)),
            // Without CR4.PSE bit 7 means nothing.
            _ => Next::Table(PhysAddr::new((entry.0 & FRAME_MASK).into())),
        }
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        rights.permit(access, &without_keys(control))
    }

    #[inline]
    fn describe(access: Access, control: &Control) -> ErrorCode {
        // There is no NX here, so only SMEP can forbid a fetch.
        describe(access, control.smep)
    }

    #[inline]
    fn exceeds(more: Rights, less: Rights) -> bool {
        more.exceed(less)
    }
}

/// Protection keys exist in long mode only.
pub(crate) const fn without_keys(control: &Control) -> Control {
    Control {
        pkru: None,
        pkrs: None,
        ..*control
    }
}

/// As on x86-64, but that everything can be executed.
impl KernelFormat for X86Legacy {
    const PHYSICAL_BITS: u32 = 32;

    fn kernel_leaf(frame: Pfn, level: Level, prot: KernelProt) -> LegacyEntry {
        // The flags are those of the wide format's low bits.
        let wide = X86_64::kernel_leaf(Pfn::ZERO, level, prot).raw() as u32;
        let flags = PteFlags::from_bits_truncate(u64::from(wide & 0xfff));
        if level == Level::PTE {
            LegacyEntry::page(frame, flags)
        } else {
            LegacyEntry(LegacyEntry::large(frame, flags).0 | wide & PAT_LARGE)
        }
    }

    fn cache_mode(leaf: LegacyEntry, level: Level) -> CacheMode {
        X86_64::cache_mode(Pte::from_raw(leaf.raw()), level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_mebibytes_above_four_gibibytes_are_reached() {
        let frame = PhysAddr::new(0x12_3440_0000).frame();
        let large = LegacyEntry::large(frame, PteFlags::PRESENT | PteFlags::WRITE);
        assert_eq!(large.target(Level::PGD).frame(), frame);
        assert_eq!(large.raw(), 0x3442_4083);
        assert!(!X86Legacy::is_reserved(large, Level::PGD, &Control::default()));
        let small = Control {
            physical_bits: 36,
            ..Control::default()
        };
        assert!(X86Legacy::is_reserved(large, Level::PGD, &small));
    }

    #[test]
    fn a_large_leaf_falls_into_pages_with_the_same_flags() {
        let flags = PteFlags::PRESENT | PteFlags::USER | PteFlags::DIRTY;
        let large = LegacyEntry(LegacyEntry::large(Pfn::new(0x4_0000), flags).0 | PAT_LARGE);
        let page = large.part(Level::PTE, 3, 1);
        assert_eq!(page.target(Level::PTE).frame(), Pfn::new(0x4_0003));
        assert_eq!(page.flags(), flags | PteFlags::PAT);
    }

    #[test]
    fn without_pse_the_size_bit_means_nothing() {
        let entry = LegacyEntry::from_raw(0x0012_3087);
        let off = Control {
            large_pages: false,
            ..Control::default()
        };
        let table = Next::Table(PhysAddr::new(0x12_3000));
        assert_eq!(X86Legacy::follow(entry, Level::PGD, &off), table);
        assert!(!X86Legacy::is_reserved(entry, Level::PGD, &off));
    }
}
