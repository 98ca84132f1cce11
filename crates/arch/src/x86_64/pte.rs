//! One entry of a table.

use core::fmt;

use foliant_units::{Pfn, PhysAddr};

use super::flags::PteFlags;
use crate::format::Entry;
use crate::level::Level;

/// Bits of the largest physical address that an entry has room for.
pub const MAX_PHYS_BITS: u32 = 52;

/// Bits 12 to 51: the frame.
const FRAME_MASK: u64 = ((1 << MAX_PHYS_BITS) - 1) & foliant_units::PAGE_MASK;
/// Where the protection key lies.
const KEY_SHIFT: u32 = 59;
const KEY_MASK: u64 = 0xf << KEY_SHIFT;

/// An entry of any level, in the hardware's format.
///
/// Four kinds of word share it: *empty* (zero), *present*, *inaccessible* (a
/// frame that the hardware must not use, as after `PROT_NONE`) and *absent*
/// (see [`Absent`](super::Absent)). As in Linux, everything that is not present
/// keeps its frame or offset inverted, so that a processor that looks past a
/// clear present bit (L1TF) sees an address without memory.
///
/// # Linux source concept
/// `pte_t`; also `pmd_t`, `pud_t`, which differ in types only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Pte(u64);

const _: () = assert!(size_of::<Pte>() == 8, "the hardware reads eight bytes");

impl Pte {
    /// Nothing there.
    pub const EMPTY: Self = Self(0);

    /// Wraps a raw word.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw word.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// A leaf for `frame`. Without [`PteFlags::PRESENT`] the flags must have
    /// [`PteFlags::PROT_NONE`], and the entry is inaccessible.
    #[inline]
    pub const fn new(frame: Pfn, flags: PteFlags) -> Self {
        let address = frame.base().raw() & FRAME_MASK;
        let present = flags.bits() & PteFlags::PRESENT.bits() != 0;
        let address = if present { address } else { !address & FRAME_MASK };
        Self(address | flags.bits())
    }

    /// Whether nothing is there.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the hardware follows the entry.
    #[inline]
    pub const fn is_present(self) -> bool {
        self.has(PteFlags::PRESENT)
    }

    /// Whether the entry holds a frame that the hardware must not use.
    #[inline]
    pub const fn is_inaccessible(self) -> bool {
        !self.has(PteFlags::PRESENT) && self.has(PteFlags::PROT_NONE)
    }

    /// Whether the entry holds a frame: present or inaccessible.
    ///
    /// # Linux source concept
    /// `pte_present()`.
    #[inline]
    pub const fn has_frame(self) -> bool {
        self.0 & (PteFlags::PRESENT.bits() | PteFlags::PROT_NONE.bits()) != 0
    }

    /// Whether the entry is neither empty nor holds a frame.
    #[inline]
    pub const fn is_absent(self) -> bool {
        !self.is_empty() && !self.has_frame()
    }

    /// The frame of a PTE that [`has_frame`](Self::has_frame). For a leaf of
    /// another level see [`frame_at`](Self::frame_at).
    #[inline]
    pub const fn frame(self) -> Pfn {
        let word = if self.is_present() { self.0 } else { !self.0 };
        PhysAddr::new(word & FRAME_MASK).frame()
    }

    /// The first frame of a leaf of `level` that [`has_frame`](Self::has_frame).
    #[inline]
    pub const fn frame_at(self, level: Level) -> Pfn {
        // The lowest address bit of a large leaf is its PAT bit.
        let pat = if level.index() > Level::PTE.index() { 1 } else { 0 };
        Pfn::new(self.frame().raw() & !pat)
    }

    /// The flags, without frame and protection key. Empty for an absent entry.
    #[inline]
    pub const fn flags(self) -> PteFlags {
        if self.has_frame() {
            PteFlags::from_bits_truncate(self.0)
        } else {
            PteFlags::empty()
        }
    }

    #[inline]
    const fn has(self, flags: PteFlags) -> bool {
        self.0 & flags.bits() == flags.bits()
    }

    /// The same frame and key with exactly `flags`; inverts the frame where
    /// presence changes. The entry must hold a frame.
    #[inline]
    pub const fn with_flags(self, flags: PteFlags) -> Self {
        debug_assert!(self.has_frame());
        Self(Self::new(self.frame(), flags).0 | (self.0 & KEY_MASK))
    }

    /// Whether changing `flags` leaves the frame's bits as they are.
    #[inline]
    const fn keeps_frame(flags: PteFlags) -> bool {
        !flags.intersects(PteFlags::PRESENT.union(PteFlags::PROT_NONE))
    }

    /// With `flags` added. The entry must hold a frame.
    #[inline]
    pub const fn with(self, flags: PteFlags) -> Self {
        debug_assert!(self.has_frame());
        if Self::keeps_frame(flags) {
            return Self(self.0 | flags.bits());
        }
        self.with_flags(self.flags().union(flags))
    }

    /// With `flags` taken away. The entry must hold a frame.
    #[inline]
    pub const fn without(self, flags: PteFlags) -> Self {
        debug_assert!(self.has_frame());
        if Self::keeps_frame(flags) {
            return Self(self.0 & !flags.bits());
        }
        self.with_flags(self.flags().difference(flags))
    }

    /// The protection key, 0 to 15.
    #[inline]
    pub const fn key(self) -> u8 {
        ((self.0 & KEY_MASK) >> KEY_SHIFT) as u8
    }

    /// With protection key `key`, of which the low four bits count.
    #[inline]
    pub const fn with_key(self, key: u8) -> Self {
        Self(self.0 & !KEY_MASK | ((key as u64) << KEY_SHIFT) & KEY_MASK)
    }

    /// Whether a leaf allows writing.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.has_frame() && self.has(PteFlags::WRITE)
    }

    /// Whether a leaf allows user mode.
    #[inline]
    pub const fn is_user(self) -> bool {
        self.has_frame() && self.has(PteFlags::USER)
    }

    /// Whether a leaf allows instruction fetches.
    #[inline]
    pub const fn is_executable(self) -> bool {
        self.has_frame() && !self.has(PteFlags::NO_EXECUTE)
    }

    /// Whether a leaf was used.
    #[inline]
    pub const fn is_accessed(self) -> bool {
        self.has_frame() && self.has(PteFlags::ACCESSED)
    }

    /// Whether a leaf was written.
    #[inline]
    pub const fn is_dirty(self) -> bool {
        self.has_frame() && (self.has(PteFlags::DIRTY) || self.has(PteFlags::SAVED_DIRTY))
    }

    /// Whether a leaf's frame is not to be counted.
    #[inline]
    pub const fn is_special(self) -> bool {
        self.has_frame() && self.has(PteFlags::SPECIAL)
    }

    /// Whether a leaf reports writes to userfaultfd.
    #[inline]
    pub const fn is_uffd_wp(self) -> bool {
        self.has_frame() && self.has(PteFlags::UFFD_WP)
    }

    /// Whether a leaf is soft-dirty.
    #[inline]
    pub const fn is_soft_dirty(self) -> bool {
        self.has_frame() && self.has(PteFlags::SOFT_DIRTY)
    }

    /// Whether an entry above the PTE level maps memory.
    #[inline]
    pub const fn is_large(self) -> bool {
        self.has(PteFlags::LARGE)
    }

    /// The leaf of `below` that maps part `index` of this large leaf, each part
    /// having `frames` frames, with the same rights.
    #[inline]
    pub const fn part(self, below: Level, index: usize, frames: u64) -> Self {
        let still_large = below.index() > Level::PTE.index();
        let present = self.is_present();
        let pat = self.has(PteFlags::PAT_LARGE) == present;
        let first = Pfn::new(self.frame().raw() & !1);
        let frame = Pfn::new(first.raw() + index as u64 * frames);
        let flags = if still_large {
            self.flags()
        } else {
            self.flags().difference(PteFlags::LARGE)
        };
        let flags = if pat && !still_large {
            flags.union(PteFlags::PAT)
        } else {
            flags
        };
        let word = Self::new(frame, flags).0 | (self.0 & KEY_MASK);
        let flip = if pat && still_large {
            PteFlags::PAT_LARGE.bits()
        } else {
            0
        };
        Self(word ^ flip)
    }
}

impl Entry for Pte {
    const EMPTY: Self = Self::EMPTY;

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
        Pte::is_present(self)
    }

    #[inline]
    fn is_table(self, level: Level) -> bool {
        Pte::is_present(self) && level != Level::PTE && !self.is_large()
    }

    #[inline]
    fn target(self, level: Level) -> PhysAddr {
        // PAT lies at bit 7 in a PTE, at bit 12 in a large leaf.
        let large = level != Level::PTE && self.is_large();
        PhysAddr::new(
            self.0
                & if large {
                    FRAME_MASK & !(1 << 12)
                } else {
                    FRAME_MASK
                },
        )
    }

    #[inline]
    fn link(table: PhysAddr, _level: Level) -> Self {
        Self(table.raw() & FRAME_MASK | PteFlags::TABLE.bits())
    }

    #[inline]
    fn is_accessed(self) -> bool {
        self.has(PteFlags::ACCESSED)
    }

    #[inline]
    fn touched(self, written: bool) -> Self {
        let dirty = if written { PteFlags::DIRTY.bits() } else { 0 };
        Self(self.0 | PteFlags::ACCESSED.bits() | dirty)
    }

    #[inline]
    fn is_dirty(self) -> bool {
        self.has(PteFlags::DIRTY)
    }

    #[inline]
    fn is_global(self) -> bool {
        self.has(PteFlags::GLOBAL)
    }

    #[inline]
    fn part(self, below: Level, index: usize, frames: u64) -> Self {
        Pte::part(self, below, index, frames)
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            f.write_str("pte:empty")
        } else if self.has_frame() {
            write!(f, "pte:{:#x}", self.frame().raw())?;
            bitflags::parser::to_writer(&self.flags(), WithBar(f, true))?;
            if self.key() != 0 {
                write!(f, "|key {}", self.key())
            } else {
                Ok(())
            }
        } else {
            write!(f, "pte:{:?}", super::Absent::decode(*self))
        }
    }
}

/// Puts one bar before the first flag.
struct WithBar<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);

impl fmt::Write for WithBar<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if core::mem::take(&mut self.1) {
            self.0.write_str("|")?;
        }
        self.0.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);

    #[test]
    fn an_inaccessible_page_keeps_its_frame_inverted() {
        let present = Pte::new(Pfn::new(0x1234), RW).with_key(5);
        let hidden = present.with_flags(PteFlags::PROT_NONE | PteFlags::ACCESSED);
        assert_eq!(hidden.frame(), Pfn::new(0x1234));
        assert_eq!(hidden.raw() & FRAME_MASK, !(0x1234 << 12) & FRAME_MASK);
        assert!(hidden.is_inaccessible() && !hidden.is_present() && !hidden.is_absent());
        assert_eq!(hidden.with_flags(RW), present);
        assert_eq!(hidden.key(), 5);
    }

    #[test]
    fn a_large_leaf_falls_into_parts_with_the_same_rights() {
        let large = Pte::new(Pfn::new(0x40000), RW | PteFlags::LARGE | PteFlags::DIRTY);
        let large = Pte::from_raw(large.raw() | PteFlags::PAT_LARGE.bits()).with_key(3);
        assert_eq!(large.frame_at(Level::PUD), Pfn::new(0x40000));

        let middle = large.part(Level::PMD, 2, 512);
        assert!(middle.is_large());
        assert_eq!(middle.frame_at(Level::PMD), Pfn::new(0x40400));

        let small = middle.part(Level::PTE, 7, 1);
        assert_eq!(small.frame(), Pfn::new(0x40407));
        assert_eq!(small.flags(), RW | PteFlags::DIRTY | PteFlags::PAT);
        assert_eq!(small.key(), 3);
    }
}
