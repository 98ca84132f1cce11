//! One descriptor (Arm ARM D8.3 "Translation table descriptor formats").

use bitflags::bitflags;
use foliant_units::{Pfn, PhysAddr};

use crate::format::Entry;
use crate::level::Level;

bitflags! {
    /// The bits of a descriptor.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct DescriptorFlags: u64 {
        /// The hardware looks at the descriptor.
        const VALID = 1 << 0;
        /// A table, or a page at the last level; clear: a block.
        const TABLE = 1 << 1;
        /// Lowest bit of the attribute index into MAIR.
        const ATTRIBUTE_0 = 1 << 2;
        /// Middle bit of the attribute index.
        const ATTRIBUTE_1 = 1 << 3;
        /// Highest bit of the attribute index.
        const ATTRIBUTE_2 = 1 << 4;
        /// Output is in the non-secure space.
        const NON_SECURE = 1 << 5;
        /// AP[1]: programs (EL0) have access.
        const USER = 1 << 6;
        /// AP[2]: read-only.
        const READ_ONLY = 1 << 7;
        /// SH[0]; with 52-bit addresses of small granules part of the address.
        const SHARE_0 = 1 << 8;
        /// SH[1].
        const SHARE_1 = 1 << 9;
        /// AF: used since last cleared.
        const ACCESSED = 1 << 10;
        /// nG: belongs to one address space.
        const NOT_GLOBAL = 1 << 11;
        /// GP: branches must land on a landing pad.
        const GUARDED = 1 << 50;
        /// DBM: writing is allowed and clears `READ_ONLY`.
        const DIRTY_MODIFIER = 1 << 51;
        /// One of a group of neighbours that map contiguous memory alike.
        const CONTIGUOUS = 1 << 52;
        /// PXN: the kernel must not execute.
        const KERNEL_NO_EXECUTE = 1 << 53;
        /// UXN: programs must not execute.
        const USER_NO_EXECUTE = 1 << 54;
        /// Software: Linux's dirty bit.
        const SOFTWARE_DIRTY = 1 << 55;
        /// Software: Linux's special bit.
        const SPECIAL = 1 << 56;
        /// Of a table: PXN for all below.
        const TABLE_KERNEL_NO_EXECUTE = 1 << 59;
        /// Of a table: UXN for all below.
        const TABLE_USER_NO_EXECUTE = 1 << 60;
        /// Of a table, APTable[0]: programs have no access to anything below.
        const TABLE_NO_USER = 1 << 61;
        /// Of a table, APTable[1]: all below is read-only.
        const TABLE_READ_ONLY = 1 << 62;
        /// Of a table: all below is non-secure.
        const TABLE_NON_SECURE = 1 << 63;
    }
}

/// A descriptor of tables with a granule of `1 << GRANULE` bytes and addresses
/// of `BITS` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Descriptor<const GRANULE: u32, const BITS: u32>(u64);

impl<const GRANULE: u32, const BITS: u32> Descriptor<GRANULE, BITS> {
    /// Whether addresses have 52 bits, the highest of which lie elsewhere.
    const EXTENDED: bool = BITS > 48;

    /// The bits of the address that lie where they belong.
    const ADDRESS: u64 = {
        let top = if Self::EXTENDED && GRANULE < 16 { 50 } else { 48 };
        ((1 << top) - 1) & !((1 << GRANULE) - 1)
    };

    /// Splits an address into the word's bits.
    const fn place(at: PhysAddr) -> u64 {
        let low = at.raw() & Self::ADDRESS;
        match (Self::EXTENDED, GRANULE) {
            (false, _) => low,
            // PA[51:48] in bits 15 to 12.
            (true, 16) => low | (at.raw() >> 48 & 0xf) << 12,
            // PA[51:50] in bits 9 and 8.
            (true, _) => low | (at.raw() >> 50 & 3) << 8,
        }
    }

    /// A page at the last level, a block above, at `frame`.
    pub const fn leaf(frame: Pfn, level: Level, flags: DescriptorFlags) -> Self {
        let page = if level.index() == 0 {
            DescriptorFlags::TABLE.bits()
        } else {
            0
        };
        Self(Self::place(frame.base()) | flags.bits() | page)
    }

    /// The flags. With 52-bit addresses of small granules the bits of
    /// [`DescriptorFlags::SHARE_0`] and `SHARE_1` belong to the address.
    pub const fn flags(self) -> DescriptorFlags {
        let address = if Self::EXTENDED && GRANULE < 16 { 3 << 8 } else { 0 };
        DescriptorFlags::from_bits_truncate(self.0 & !address)
    }

    /// The index into MAIR.
    pub const fn attribute(self) -> u8 {
        (self.0 >> 2 & 7) as u8
    }

    pub(super) const fn has(self, flags: DescriptorFlags) -> bool {
        self.0 & flags.bits() == flags.bits()
    }

    /// Whether a valid descriptor of `level` is a block or a page.
    pub(super) const fn is_leaf(self, level: Level) -> bool {
        level.index() == 0 || !self.has(DescriptorFlags::TABLE)
    }

    /// With hardware management a write clears `READ_ONLY` of such a leaf.
    pub(super) const fn written(self) -> Self {
        if self.has(DescriptorFlags::DIRTY_MODIFIER) {
            Self(self.0 & !DescriptorFlags::READ_ONLY.bits())
        } else {
            self
        }
    }
}

impl<const GRANULE: u32, const BITS: u32> Entry for Descriptor<GRANULE, BITS> {
    const EMPTY: Self = Self(0);

    #[inline]
    fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    #[inline]
    fn raw(self) -> u64 {
        self.0
    }

    #[inline]
    fn is_present(self) -> bool {
        self.has(DescriptorFlags::VALID)
    }

    #[inline]
    fn is_table(self, level: Level) -> bool {
        self.is_present() && !self.is_leaf(level)
    }

    #[inline]
    fn target(self, _level: Level) -> PhysAddr {
        let low = self.0 & Self::ADDRESS;
        PhysAddr::new(match (Self::EXTENDED, GRANULE) {
            (false, _) => low,
            (true, 16) => low | (self.0 >> 12 & 0xf) << 48,
            (true, _) => low | (self.0 >> 8 & 3) << 50,
        })
    }

    #[inline]
    fn link(table: PhysAddr, _level: Level) -> Self {
        let flags = DescriptorFlags::VALID | DescriptorFlags::TABLE;
        Self(Self::place(table) | flags.bits())
    }

    #[inline]
    fn is_accessed(self) -> bool {
        self.has(DescriptorFlags::ACCESSED)
    }

    #[inline]
    fn touched(self, written: bool) -> Self {
        let used = Self(self.0 | DescriptorFlags::ACCESSED.bits());
        if written { used.written() } else { used }
    }

    #[inline]
    fn is_dirty(self) -> bool {
        // A leaf that cannot tell whether it was written counts as written.
        !self.has(DescriptorFlags::READ_ONLY)
    }

    #[inline]
    fn is_global(self) -> bool {
        !self.has(DescriptorFlags::NOT_GLOBAL)
    }

    #[inline]
    fn is_grouped(self) -> bool {
        self.is_present() && self.has(DescriptorFlags::CONTIGUOUS)
    }

    #[inline]
    fn with_group(self, grouped: bool) -> Self {
        let word = self.0 & !DescriptorFlags::CONTIGUOUS.bits();
        Self(if grouped {
            word | DescriptorFlags::CONTIGUOUS.bits()
        } else {
            word
        })
    }

    fn goes_on_in(self, next: Self, level: Level, bytes: u64) -> bool {
        let is_leaf = |entry: Self| entry.is_present() && entry.is_leaf(level);
        let rights = |entry: Self| entry.touched(true).with_group(false).flags();
        is_leaf(self)
            && is_leaf(next)
            && next.target(level) == self.target(level) + bytes
            && rights(self) == rights(next)
    }

    fn part(self, below: Level, index: usize, frames: u64) -> Self {
        let first = self.target(below).frame();
        let flags = self.flags().difference(DescriptorFlags::TABLE);
        Self::leaf(first + index as u64 * frames, below, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_52_bits_fit_all_granules() {
        let at = PhysAddr::new(0xf_abcd_ef12_0000);
        let valid = DescriptorFlags::VALID;
        let four = Descriptor::<12, 52>::leaf(at.frame(), Level::PTE, valid);
        let sixteen = Descriptor::<14, 52>::leaf(at.frame(), Level::PTE, valid);
        let sixty_four = Descriptor::<16, 52>::leaf(at.frame(), Level::PTE, valid);
        assert_eq!(four.target(Level::PTE), at);
        assert_eq!(sixteen.target(Level::PTE), at);
        assert_eq!(sixty_four.target(Level::PTE), at);
        assert_eq!(four.raw(), 0x3_abcd_ef12_0303);
        assert_eq!(sixty_four.raw(), 0xabcd_ef12_f003);
    }

    #[test]
    fn a_block_falls_into_blocks_and_pages() {
        let flags = DescriptorFlags::VALID | DescriptorFlags::ACCESSED;
        let block = Descriptor::<12, 48>::leaf(Pfn::new(0x4_0000), Level::PUD, flags);
        let middle = block.part(Level::PMD, 3, 512);
        assert!(!middle.is_table(Level::PMD));
        let page = middle.part(Level::PTE, 5, 1);
        assert_eq!(page.target(Level::PTE).frame(), Pfn::new(0x4_0605));
        assert_eq!(page.raw() & 3, 3);
    }
}
