//! What Linux tells about pages: `/proc/PID/pagemap`, `PAGEMAP_SCAN`, and
//! `/proc/kpageflags`.

use bitflags::bitflags;
use foliant_units::{Pfn, VirtAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One 64-bit word of `/proc/PID/pagemap`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PagemapWord(pub u64);

bitflags! {
    /// The flag bits of a [`PagemapWord`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PagemapFlags: u64 {
        /// Written since the bits were cleared.
        const SOFT_DIRTY = 1 << 55;
        /// Mapped here only.
        const MMAP_EXCLUSIVE = 1 << 56;
        /// Write-protected through userfaultfd.
        const UFFD_WP = 1 << 57;
        /// Part of a guard region.
        const GUARD_REGION = 1 << 58;
        /// A page of a file or of shared memory.
        const FILE = 1 << 61;
        /// In swap, or another absent entry.
        const SWAP = 1 << 62;
        /// Present.
        const PRESENT = 1 << 63;
    }
}

impl PagemapWord {
    const PFN_MASK: u64 = (1 << 55) - 1;

    /// Nothing there.
    pub const EMPTY: Self = Self(0);

    /// A present page; `flags` without [`PagemapFlags::PRESENT`] are added.
    pub const fn present(frame: Pfn, flags: PagemapFlags) -> Self {
        Self(frame.raw() & Self::PFN_MASK | flags.bits() | PagemapFlags::PRESENT.bits())
    }

    /// A swapped page: type in the low 5 bits, offset above.
    pub const fn swapped(kind: u8, offset: u64, flags: PagemapFlags) -> Self {
        let entry = (kind as u64 & 0x1f) | offset << 5;
        Self(entry & Self::PFN_MASK | flags.bits() | PagemapFlags::SWAP.bits())
    }

    /// The flag bits.
    pub const fn flags(self) -> PagemapFlags {
        PagemapFlags::from_bits_truncate(self.0)
    }

    /// The frame of a present page; zero where the reader may not know it.
    pub const fn frame(self) -> Option<Pfn> {
        if self.0 >> 63 == 1 {
            Some(Pfn::new(self.0 & Self::PFN_MASK))
        } else {
            None
        }
    }

    /// What a reader without `CAP_SYS_ADMIN` sees: no frame numbers.
    #[must_use]
    pub const fn without_frame(self) -> Self {
        if self.0 >> 63 == 1 {
            Self(self.0 & !Self::PFN_MASK)
        } else {
            self
        }
    }
}

bitflags! {
    /// What `PAGEMAP_SCAN` says of a page.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PageCategories: u64 {
        /// In an area registered for asynchronous write protection.
        const WPALLOWED = 1 << 0;
        /// Written since write-protected.
        const WRITTEN = 1 << 1;
        /// A page of a file or of shared memory.
        const FILE = 1 << 2;
        /// Present.
        const PRESENT = 1 << 3;
        /// In swap.
        const SWAPPED = 1 << 4;
        /// The zero page.
        const PFNZERO = 1 << 5;
        /// Part of a huge mapping.
        const HUGE = 1 << 6;
        /// Soft-dirty.
        const SOFT_DIRTY = 1 << 7;
        /// Part of a guard region.
        const GUARD = 1 << 8;
    }
}

bitflags! {
    /// Flags of `PAGEMAP_SCAN`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct ScanFlags: u64 {
        /// Write-protects what matches.
        const WP_MATCHING = 1 << 0;
        /// Fails on areas that are not registered for asynchronous protection.
        const CHECK_WPASYNC = 1 << 1;
    }
}

/// Argument of `PAGEMAP_SCAN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PmScanArg {
    /// Bytes of this structure.
    pub size: u64,
    /// [`ScanFlags`].
    pub flags: u64,
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// Where the scan stopped.
    pub walk_end: u64,
    /// Array of [`PageRegion`].
    pub vec: u64,
    /// Its elements.
    pub vec_len: u64,
    /// Most pages to report; 0 is no limit.
    pub max_pages: u64,
    /// Categories whose sense is inverted.
    pub category_inverted: u64,
    /// All of these must match.
    pub category_mask: u64,
    /// At least one of these must match.
    pub category_anyof_mask: u64,
    /// Categories reported.
    pub return_mask: u64,
}

/// A run of pages of the same categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PageRegion {
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// [`PageCategories`].
    pub categories: u64,
}

impl PageRegion {
    /// First address.
    pub const fn start(&self) -> VirtAddr {
        VirtAddr::new(self.start)
    }
}

/// Request number of `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)`.
pub const PAGEMAP_SCAN: u32 = 0xc060_6610;

bitflags! {
    /// A word of `/proc/kpageflags`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct KpageFlags: u64 {
        /// Locked for I/O.
        const LOCKED = 1 << 0;
        /// An error happened.
        const ERROR = 1 << 1;
        /// Used recently.
        const REFERENCED = 1 << 2;
        /// Contents are valid.
        const UPTODATE = 1 << 3;
        /// Newer than its backing.
        const DIRTY = 1 << 4;
        /// On an LRU list.
        const LRU = 1 << 5;
        /// On the active list.
        const ACTIVE = 1 << 6;
        /// Slab.
        const SLAB = 1 << 7;
        /// Being written back.
        const WRITEBACK = 1 << 8;
        /// To be reclaimed soon.
        const RECLAIM = 1 << 9;
        /// Free, in the buddy lists.
        const BUDDY = 1 << 10;
        /// Mapped by a process.
        const MMAP = 1 << 11;
        /// Anonymous.
        const ANON = 1 << 12;
        /// In the swap cache.
        const SWAPCACHE = 1 << 13;
        /// Backed by swap.
        const SWAPBACKED = 1 << 14;
        /// First of several.
        const COMPOUND_HEAD = 1 << 15;
        /// Not the first of several.
        const COMPOUND_TAIL = 1 << 16;
        /// hugetlb.
        const HUGE = 1 << 17;
        /// Never reclaimed.
        const UNEVICTABLE = 1 << 18;
        /// Broken hardware.
        const HWPOISON = 1 << 19;
        /// No such frame.
        const NOPAGE = 1 << 20;
        /// Same-page merged.
        const KSM = 1 << 21;
        /// Transparent huge page.
        const THP = 1 << 22;
        /// Offline.
        const OFFLINE = 1 << 23;
        /// The zero page.
        const ZERO_PAGE = 1 << 24;
        /// Idle.
        const IDLE = 1 << 25;
        /// Page table.
        const PGTABLE = 1 << 26;
        /// Reserved.
        const RESERVED = 1 << 32;
        /// Locked into memory.
        const MLOCKED = 1 << 33;
        /// Owner's flag.
        const OWNER_2 = 1 << 34;
        /// Owner's flag.
        const PRIVATE = 1 << 35;
        /// Owner's flag.
        const PRIVATE_2 = 1 << 36;
        /// Owner's flag.
        const OWNER_PRIVATE = 1 << 37;
        /// Architecture's flag.
        const ARCH = 1 << 38;
        /// Uncached.
        const UNCACHED = 1 << 39;
        /// Soft-dirty.
        const SOFTDIRTY = 1 << 40;
        /// Architecture's flag.
        const ARCH_2 = 1 << 41;
        /// Architecture's flag.
        const ARCH_3 = 1 << 42;
        /// Anonymous and exclusive.
        const ANON_EXCLUSIVE = 1 << 47;
    }
}

const _: () = assert!(size_of::<PmScanArg>() == 96);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_numbers_are_hidden_only_of_present_pages() {
        let word = PagemapWord::present(Pfn::new(0x1234), PagemapFlags::MMAP_EXCLUSIVE);
        assert_eq!(word.frame(), Some(Pfn::new(0x1234)));
        assert_eq!(word.without_frame().frame(), Some(Pfn::ZERO));
        let swapped = PagemapWord::swapped(1, 7, PagemapFlags::empty());
        assert_eq!(swapped.without_frame(), swapped);
        assert_eq!(swapped.0 & 0xff, 0xe1);
    }
}
