//! What an entry that the hardware does not follow can say.
//!
//! ```text
//! bit   63..59   58..........9   8 7   6..4   3   2   1   0
//!       type     ~offset         0 0   -      E   F   SD  0
//! ```
//!
//! E: the page is this space's alone; F: userfaultfd write protection; SD: soft
//! dirty. Bit 8 stays clear because there it would mean an inaccessible page.
//! The offset is inverted, so that a small one looks like an address beyond all
//! memory. Types from 24 on are not swap areas.

use bitflags::bitflags;
use foliant_units::Pfn;

use super::pte::Pte;

const TYPE_SHIFT: u32 = 59;
const OFFSET_SHIFT: u32 = 9;
const OFFSET_BITS: u32 = 50;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

/// Frame bits of an offset that names a frame: 46-bit physical addresses, as
/// Linux with four levels.
const PFN_BITS: u32 = 46 - foliant_units::PAGE_SHIFT;
const PFN_MASK: u64 = (1 << PFN_BITS) - 1;
const YOUNG: u64 = 1 << PFN_BITS;
const DIRTY: u64 = 1 << (PFN_BITS + 1);

/// Swap areas have the types below.
const FIRST_SPECIAL: u8 = 24;
const HWPOISON: u8 = FIRST_SPECIAL;
const MIGRATION_READ: u8 = 25;
const MIGRATION_READ_EXCLUSIVE: u8 = 26;
const MIGRATION_WRITE: u8 = 27;
const DEVICE_WRITE: u8 = 28;
const DEVICE_READ: u8 = 29;
const DEVICE_EXCLUSIVE: u8 = 30;
const MARKER: u8 = 31;

bitflags! {
    /// Bits that an absent entry keeps beside its type and offset.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct SwapMarks: u64 {
        /// Soft-dirty.
        const SOFT_DIRTY = 1 << 1;
        /// Write-protected by userfaultfd.
        const UFFD_WP = 1 << 2;
        /// The page belonged to this space alone when it was swapped out.
        const EXCLUSIVE = 1 << 3;
    }
}

bitflags! {
    /// What a marker says about a page that has no content yet.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Markers: u64 {
        /// Write-protected by userfaultfd.
        const UFFD_WP = 1 << 0;
        /// Any access gets SIGBUS.
        const POISONED = 1 << 1;
        /// A guard page: any access gets SIGSEGV.
        const GUARD = 1 << 2;
    }
}

/// A page in a swap area.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SwapEntry {
    area: u8,
    offset: u64,
}

impl SwapEntry {
    /// Page `offset` of swap area `area`; `None` where the entry has no room for them.
    pub const fn new(area: u8, offset: u64) -> Option<Self> {
        if area < FIRST_SPECIAL && offset <= OFFSET_MASK {
            Some(Self { area, offset })
        } else {
            None
        }
    }

    /// The swap area's number.
    pub const fn area(self) -> u8 {
        self.area
    }

    /// The page inside the area.
    pub const fn offset(self) -> u64 {
        self.offset
    }
}

/// What a page under migration was allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MigrationKind {
    /// Reading, and others may share it.
    Read,
    /// Reading, but it belongs to this space alone.
    ReadExclusive,
    /// Writing.
    Write,
}

/// How device-private memory is borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PrivateKind {
    /// In device memory, writable.
    Write,
    /// In device memory, readable.
    Read,
    /// In RAM, but the device has it to itself.
    Exclusive,
}

/// What an absent entry stands for.
///
/// # Linux source concept
/// `swp_entry_t`, `is_migration_entry()`, `is_pte_marker_entry()` and their kin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Absent {
    /// The content is in swap.
    Swap(SwapEntry),
    /// The frame has uncorrectable errors.
    HwPoison(Pfn),
    /// The frame is being moved; wait.
    Migration {
        /// The old frame.
        frame: Pfn,
        /// What was allowed.
        kind: MigrationKind,
        /// The accessed bit.
        young: bool,
        /// The dirty bit.
        dirty: bool,
    },
    /// The frame is a device's.
    Private {
        /// The frame.
        frame: Pfn,
        /// How it is borrowed.
        kind: PrivateKind,
    },
    /// No content, but something to remember.
    Marker(Markers),
}

impl Absent {
    /// The entry that says this, without marks.
    pub const fn encode(self) -> Pte {
        match self {
            Absent::Swap(entry) => pack(entry.area, entry.offset),
            Absent::HwPoison(frame) => pack(HWPOISON, frame.raw() & PFN_MASK),
            Absent::Migration {
                frame,
                kind,
                young,
                dirty,
            } => {
                let ty = match kind {
                    MigrationKind::Read => MIGRATION_READ,
                    MigrationKind::ReadExclusive => MIGRATION_READ_EXCLUSIVE,
                    MigrationKind::Write => MIGRATION_WRITE,
                };
                let young = if young { YOUNG } else { 0 };
                let dirty = if dirty { DIRTY } else { 0 };
                pack(ty, frame.raw() & PFN_MASK | young | dirty)
            }
            Absent::Private { frame, kind } => {
                let ty = match kind {
                    PrivateKind::Write => DEVICE_WRITE,
                    PrivateKind::Read => DEVICE_READ,
                    PrivateKind::Exclusive => DEVICE_EXCLUSIVE,
                };
                pack(ty, frame.raw() & PFN_MASK)
            }
            Absent::Marker(markers) => pack(MARKER, markers.bits()),
        }
    }

    /// What `entry` says; `None` if it is empty or holds a frame.
    pub const fn decode(entry: Pte) -> Option<Self> {
        if !entry.is_absent() {
            return None;
        }
        let ty = (entry.raw() >> TYPE_SHIFT) as u8;
        let offset = (!entry.raw() >> OFFSET_SHIFT) & OFFSET_MASK;
        let frame = Pfn::new(offset & PFN_MASK);
        Some(match ty {
            HWPOISON => Absent::HwPoison(frame),
            MIGRATION_READ => moving(frame, MigrationKind::Read, offset),
            MIGRATION_READ_EXCLUSIVE => moving(frame, MigrationKind::ReadExclusive, offset),
            MIGRATION_WRITE => moving(frame, MigrationKind::Write, offset),
            DEVICE_WRITE => Absent::Private {
                frame,
                kind: PrivateKind::Write,
            },
            DEVICE_READ => Absent::Private {
                frame,
                kind: PrivateKind::Read,
            },
            DEVICE_EXCLUSIVE => Absent::Private {
                frame,
                kind: PrivateKind::Exclusive,
            },
            MARKER => Absent::Marker(Markers::from_bits_truncate(offset)),
            area => Absent::Swap(SwapEntry { area, offset }),
        })
    }
}

const fn moving(frame: Pfn, kind: MigrationKind, offset: u64) -> Absent {
    Absent::Migration {
        frame,
        kind,
        young: offset & YOUNG != 0,
        dirty: offset & DIRTY != 0,
    }
}

const fn pack(ty: u8, offset: u64) -> Pte {
    Pte::from_raw((ty as u64) << TYPE_SHIFT | (!offset & OFFSET_MASK) << OFFSET_SHIFT)
}

impl Pte {
    /// The marks of an absent entry.
    pub const fn marks(self) -> SwapMarks {
        if self.is_absent() {
            SwapMarks::from_bits_truncate(self.raw())
        } else {
            SwapMarks::empty()
        }
    }

    /// An absent entry with exactly `marks`.
    pub const fn with_marks(self, marks: SwapMarks) -> Self {
        debug_assert!(self.is_absent());
        Self::from_raw(self.raw() & !SwapMarks::all().bits() | marks.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_absent_kind_comes_back_as_it_went_in() {
        let frame = Pfn::new(0x3_1234_5678);
        let kinds = [
            Absent::Swap(SwapEntry::new(0, 0).unwrap()),
            Absent::Swap(SwapEntry::new(23, OFFSET_MASK).unwrap()),
            Absent::HwPoison(frame),
            Absent::Migration {
                frame,
                kind: MigrationKind::Read,
                young: true,
                dirty: false,
            },
            Absent::Migration {
                frame,
                kind: MigrationKind::ReadExclusive,
                young: false,
                dirty: true,
            },
            Absent::Migration {
                frame,
                kind: MigrationKind::Write,
                young: false,
                dirty: false,
            },
            Absent::Private {
                frame,
                kind: PrivateKind::Exclusive,
            },
            Absent::Marker(Markers::GUARD),
            Absent::Marker(Markers::UFFD_WP | Markers::POISONED),
        ];
        for kind in kinds {
            let entry = kind.encode();
            assert!(entry.is_absent(), "{kind:?}");
            assert_eq!(Absent::decode(entry), Some(kind));
            let marked = entry.with_marks(SwapMarks::EXCLUSIVE | SwapMarks::SOFT_DIRTY);
            assert_eq!(Absent::decode(marked), Some(kind));
            assert_eq!(marked.marks(), SwapMarks::EXCLUSIVE | SwapMarks::SOFT_DIRTY);
        }
    }

    #[test]
    fn the_words_are_linux_words() {
        // __swp_entry(1, 0) and __swp_entry(0, 5) of x86-64.
        let first = Absent::Swap(SwapEntry::new(1, 0).unwrap()).encode();
        assert_eq!(first.raw(), 1 << 59 | 0x07ff_ffff_ffff_fe00);
        let fifth = Absent::Swap(SwapEntry::new(0, 5).unwrap()).encode();
        assert_eq!(fifth.raw(), 0x07ff_ffff_ffff_fe00 & !(5 << 9));
    }

    #[test]
    fn areas_above_the_swap_types_are_refused() {
        assert_eq!(SwapEntry::new(24, 0), None);
        assert_eq!(SwapEntry::new(0, OFFSET_MASK + 1), None);
    }
}
