//! What the generic walk and the generic tables need to know of a format.

use core::fmt::Debug;

use foliant_units::PhysAddr;

use crate::access::{Access, ErrorCode};
use crate::geometry::Geometry;
use crate::level::Level;

/// One word of a table.
///
/// An entry is *empty* (all tables of the format agree that zero is), *present*
/// (the hardware follows it; to a table or to memory), or *absent*: not empty,
/// but nothing the hardware follows (swap entries, markers, inaccessible pages).
pub trait Entry: Copy + PartialEq + Eq + Debug + Default + Send + Sync + 'static {
    /// Nothing there.
    const EMPTY: Self;

    /// Wraps a raw word.
    fn from_raw(raw: u64) -> Self;
    /// The raw word.
    fn raw(self) -> u64;

    /// Whether nothing is there.
    fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Whether the hardware follows the entry.
    fn is_present(self) -> bool;
    /// Whether a present entry of `level` points to a table, not to memory.
    fn is_table(self, level: Level) -> bool;
    /// Where a present entry of `level` points, to a table or to memory.
    fn target(self, level: Level) -> PhysAddr;
    /// The entry of `level` that links the table at `table` for user translations.
    fn link(table: PhysAddr, level: Level) -> Self;

    /// Whether the processor may use a present entry of `level` without setting its accessed bit.
    fn is_accessed(self) -> bool;
    /// The entry with the accessed bit set, and the dirty bit too after a write.
    fn touched(self, written: bool) -> Self;
    /// Whether the dirty bit is set.
    fn is_dirty(self) -> bool;
    /// Whether a cached translation survives a change of address space.
    fn is_global(self) -> bool;

    /// Whether the leaf says that it is one of a [group](Format::group).
    #[inline]
    fn is_grouped(self) -> bool {
        false
    }

    /// The leaf with or without the word that it is one of a group.
    #[inline]
    #[must_use]
    fn with_group(self, _grouped: bool) -> Self {
        self
    }

    /// Whether the leaf `next` maps what follows this leaf of `level`, which
    /// maps `bytes` bytes, and alike; used and written bits do not count.
    #[inline]
    fn goes_on_in(self, _next: Self, _level: Level, _bytes: u64) -> bool {
        false
    }

    /// The leaf of level `below` that maps part `index` of this present large
    /// leaf, each part having `frames` frames, with the same rights.
    fn part(self, below: Level, index: usize, frames: u64) -> Self;
}

/// Where a present entry leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// To the table at this address.
    Table(PhysAddr),
    /// To the memory that begins at this address.
    Memory(PhysAddr),
}

/// Why a translation that exists is refused: bits that join [`ErrorCode::PROTECTION`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal(pub ErrorCode);

/// A page-table format.
pub trait Format: Copy + Default + Debug + Send + Sync + 'static {
    /// A word of its tables.
    type Entry: Entry;
    /// What the levels passed so far allow together.
    type Rights: Copy + PartialEq + Eq + Debug + Send + Sync + 'static;
    /// The control registers that decide about an access.
    type Control: Clone + Debug + Send + Sync + 'static;

    /// The shape of its tables.
    const GEOMETRY: Geometry;
    /// The rights before any entry was seen.
    const OPEN: Self::Rights;
    /// Bits of the highest physical address that a table can have.
    const TABLE_BITS: u32 = 52;

    /// The entry of `level` that links the table at `table`, with all rights.
    #[inline]
    fn link(table: PhysAddr, level: Level) -> Self::Entry {
        Self::Entry::link(table, level)
    }

    /// The rights after passing `entry` at `level`.
    fn narrow(rights: Self::Rights, entry: Self::Entry, level: Level) -> Self::Rights;

    /// Whether a present `entry` of `level` has a bit set that must be clear.
    fn is_reserved(entry: Self::Entry, level: Level, control: &Self::Control) -> bool;

    /// Where a present `entry` of `level` leads under `control`, which may
    /// switch page sizes off.
    #[inline]
    fn follow(entry: Self::Entry, level: Level, _control: &Self::Control) -> Next {
        let target = entry.target(level);
        if entry.is_table(level) {
            Next::Table(target)
        } else {
            Next::Memory(target)
        }
    }

    /// What the processor leaves of an `entry` of `level` that it used, for
    /// the leaf of a write with `written`.
    #[inline]
    fn touch(entry: Self::Entry, _level: Level, written: bool, _control: &Self::Control) -> Self::Entry {
        entry.touched(written)
    }

    /// How many neighbouring leaves of `level`, from a multiple of that many on,
    /// may say together that they map contiguous memory alike, which lets a TLB
    /// keep one entry for all; one if the format has no such hint. All of a
    /// group say it or none.
    #[inline]
    fn group(_level: Level) -> usize {
        1
    }

    /// Whether `access` is allowed under `rights`.
    ///
    /// # Errors
    /// The reason, as bits of the error code.
    fn permit(rights: Self::Rights, access: Access, control: &Self::Control) -> Result<(), Refusal>;

    /// The bits of the error code that describe `access` itself.
    fn describe(access: Access, control: &Self::Control) -> ErrorCode;

    /// Whether `more` allows any access that `less` does not; the checking of
    /// TLBs rests on it.
    fn exceeds(more: Self::Rights, less: Self::Rights) -> bool;
}
