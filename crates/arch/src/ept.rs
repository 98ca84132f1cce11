//! Intel's extended page tables (SDM volume 3, 29.3 "The extended page table
//! mechanism").

use bitflags::bitflags;
use foliant_units::{Pfn, PhysAddr};

use crate::access::{Access, AccessKind, ErrorCode, Mode};
use crate::format::{Entry, Format, Refusal};
use crate::geometry::{Above, Geometry};
use crate::level::Level;
use crate::x86_64::geometry;

/// Extended page tables, with five levels where `FIVE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ept<const FIVE: bool>;

bitflags! {
    /// The bits of an entry (tables 29-2 to 29-7).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct EptFlags: u64 {
        /// Reads are allowed.
        const READ = 1 << 0;
        /// Writes are allowed.
        const WRITE = 1 << 1;
        /// Fetches are allowed; with mode-based control, the kernel's.
        const EXECUTE = 1 << 2;
        /// Lowest bit of the memory type of a leaf.
        const TYPE_0 = 1 << 3;
        /// Middle bit of the memory type.
        const TYPE_1 = 1 << 4;
        /// Highest bit of the memory type.
        const TYPE_2 = 1 << 5;
        /// The guest's PAT does not matter.
        const IGNORE_PAT = 1 << 6;
        /// Maps memory, above the last level.
        const LARGE = 1 << 7;
        /// Used; if the pointer asks for it.
        const ACCESSED = 1 << 8;
        /// Written; if the pointer asks for it.
        const DIRTY = 1 << 9;
        /// With mode-based control: programs' fetches are allowed.
        const USER_EXECUTE = 1 << 10;
        /// Verify guest paging: the address came through the right entries.
        const VERIFY_PAGING = 1 << 57;
        /// Paging-write access.
        const PAGING_WRITE = 1 << 58;
        /// Supervisor shadow stack.
        const SHADOW_STACK = 1 << 60;
        /// A violation is delivered as an exception unless this is set.
        const SUPPRESS_VE = 1 << 63;
    }
}

impl EptFlags {
    /// Write-back memory (type 6).
    pub const WRITE_BACK: Self = Self::TYPE_1.union(Self::TYPE_2);
    /// Everything allowed.
    pub const ALL: Self = Self::READ.union(Self::WRITE).union(Self::EXECUTE);
}

/// An entry of any level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct EptEntry(u64);

const FRAME_MASK: u64 = ((1 << 52) - 1) & foliant_units::PAGE_MASK;
const TYPE_SHIFT: u32 = 3;

impl EptEntry {
    /// A leaf of `level` for `frame`.
    pub const fn leaf(frame: Pfn, level: Level, flags: EptFlags) -> Self {
        let large = if level.index() == 0 {
            0
        } else {
            EptFlags::LARGE.bits()
        };
        Self(frame.base().raw() & FRAME_MASK | flags.bits() | large)
    }

    /// The flags.
    pub const fn flags(self) -> EptFlags {
        EptFlags::from_bits_truncate(self.0)
    }

    /// The memory type of a leaf: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB.
    pub const fn memory_type(self) -> u8 {
        (self.0 >> TYPE_SHIFT & 7) as u8
    }

    const fn has(self, flags: EptFlags) -> bool {
        self.0 & flags.bits() == flags.bits()
    }

    const fn is_leaf(self, level: Level) -> bool {
        level.index() == 0 || self.has(EptFlags::LARGE)
    }
}

impl Entry for EptEntry {
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
        // With mode-based control the bit for programs counts too; without it
        // the processor ignores it and Foliant never sets it.
        self.flags().intersects(EptFlags::ALL | EptFlags::USER_EXECUTE)
    }

    #[inline]
    fn is_table(self, level: Level) -> bool {
        Entry::is_present(self) && !self.is_leaf(level)
    }

    #[inline]
    fn target(self, _level: Level) -> PhysAddr {
        PhysAddr::new(self.0 & FRAME_MASK)
    }

    #[inline]
    fn link(table: PhysAddr, _level: Level) -> Self {
        Self(table.raw() & FRAME_MASK | (EptFlags::ALL | EptFlags::USER_EXECUTE).bits())
    }

    #[inline]
    fn is_accessed(self) -> bool {
        self.has(EptFlags::ACCESSED)
    }

    #[inline]
    fn touched(self, written: bool) -> Self {
        let dirty = if written {
            EptFlags::DIRTY
        } else {
            EptFlags::empty()
        };
        Self(self.0 | (EptFlags::ACCESSED | dirty).bits())
    }

    #[inline]
    fn is_dirty(self) -> bool {
        self.has(EptFlags::DIRTY)
    }

    #[inline]
    fn is_global(self) -> bool {
        false
    }

    fn part(self, below: Level, index: usize, frames: u64) -> Self {
        let first = self.target(below).frame();
        let flags = self.flags().difference(EptFlags::LARGE);
        Self::leaf(first + index as u64 * frames, below, flags)
    }
}

/// What the processor can do, and what the pointer to the tables asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EptControl {
    /// Entries may allow fetches without reads (IA32_VMX_EPT_VPID_CAP bit 0).
    pub execute_only: bool,
    /// Accessed and dirty bits are kept (EPTP bit 6).
    pub accessed_dirty: bool,
    /// Fetches of kernel and programs are allowed apart.
    pub mode_based_execute: bool,
    /// Whether there are 1 GiB pages.
    pub gigabyte_pages: bool,
    /// Bits of a physical address.
    pub physical_bits: u32,
}

impl Default for EptControl {
    fn default() -> Self {
        Self {
            execute_only: true,
            accessed_dirty: true,
            mode_based_execute: false,
            gigabyte_pages: true,
            physical_bits: 52,
        }
    }
}

/// What the entries of all levels allow together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EptRights(EptFlags);

impl EptRights {
    /// `READ`, `WRITE`, `EXECUTE` and `USER_EXECUTE`, as far as all levels have them.
    pub const fn flags(self) -> EptFlags {
        self.0
    }

    /// The exit qualification of a violation by `access` to memory with these
    /// rights, without the bits about the guest's own walk (table 28-7).
    pub const fn qualification(self, access: Access) -> u64 {
        let access = match access.kind {
            AccessKind::Read => 1,
            AccessKind::Write => 2,
            AccessKind::Execute => 4,
        };
        let user_execute = (self.0.bits() >> 10 & 1) << 6;
        access | (self.0.bits() & 7) << 3 | user_execute
    }
}

impl<const FIVE: bool> Format for Ept<FIVE> {
    type Entry = EptEntry;
    type Rights = EptRights;
    type Control = EptControl;

    const GEOMETRY: Geometry = geometry(FIVE, Above::Clear);

    const OPEN: EptRights = EptRights(EptFlags::ALL.union(EptFlags::USER_EXECUTE));

    #[inline]
    fn narrow(rights: EptRights, entry: EptEntry, _level: Level) -> EptRights {
        EptRights(rights.0.intersection(entry.flags()))
    }

    /// A misconfiguration (29.3.3.1).
    fn is_reserved(entry: EptEntry, level: Level, control: &EptControl) -> bool {
        let flags = entry.flags();
        let writes_unread = flags.contains(EptFlags::WRITE) && !flags.contains(EptFlags::READ);
        let executes = EptFlags::EXECUTE | EptFlags::USER_EXECUTE;
        let fetches_unread =
            !control.execute_only && flags.intersects(executes) && !flags.contains(EptFlags::READ);
        let beyond = !0u64 << control.physical_bits.min(52) & ((1 << 52) - 1);
        let more = match level {
            Level::PTE => 0,
            Level::PMD if entry.is_leaf(level) => (1 << 21) - (1 << 12),
            Level::PUD if entry.is_leaf(level) && control.gigabyte_pages => (1 << 30) - (1 << 12),
            Level::PMD | Level::PUD if !entry.is_leaf(level) => 0b111_1000,
            Level::PUD => EptFlags::LARGE.bits(),
            // Above there are no leaves: bits 3 to 7 are reserved.
            _ => 0b1111_1000,
        };
        let bad_type = entry.is_leaf(level) && matches!(entry.memory_type(), 2 | 3 | 7);
        writes_unread || fetches_unread || bad_type || entry.0 & (beyond | more) != 0
    }

    #[inline]
    fn touch(entry: EptEntry, _level: Level, written: bool, control: &EptControl) -> EptEntry {
        if control.accessed_dirty {
            entry.touched(written)
        } else {
            entry
        }
    }

    fn permit(rights: EptRights, access: Access, control: &EptControl) -> Result<(), Refusal> {
        let needed = match access.kind {
            AccessKind::Read => EptFlags::READ,
            AccessKind::Write => EptFlags::WRITE,
            AccessKind::Execute if control.mode_based_execute && access.mode == Mode::User => {
                EptFlags::USER_EXECUTE
            }
            AccessKind::Execute => EptFlags::EXECUTE,
        };
        if rights.0.contains(needed) {
            Ok(())
        } else {
            Err(Refusal(ErrorCode::empty()))
        }
    }

    fn describe(access: Access, _control: &EptControl) -> ErrorCode {
        crate::x86_64::describe(access, true)
    }

    fn exceeds(more: EptRights, less: EptRights) -> bool {
        !less.0.contains(more.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Ept4 = Ept<false>;

    #[test]
    fn what_the_manual_calls_misconfigured_is_refused() {
        let control = EptControl::default();
        let bad = |raw: u64, level| Ept4::is_reserved(EptEntry(raw), level, &control);
        assert!(bad(0b010, Level::PTE), "written but not read");
        assert!(bad(0b110, Level::PTE), "written and fetched but not read");
        assert!(!bad(0b100 | 6 << 3, Level::PTE), "fetched but not read");
        assert!(bad(0b111 | 3 << 3, Level::PTE), "memory type 3");
        assert!(bad(0b111 | 6 << 3 | 1 << 7 | 1 << 12, Level::PMD), "unaligned");
        assert!(bad(0b111 | 1 << 7, Level::PGD), "a leaf at the top");
        assert!(bad(0b111 | 1 << 3, Level::PMD), "a link with a memory type");
        let strict = EptControl {
            execute_only: false,
            ..control
        };
        assert!(Ept4::is_reserved(EptEntry(0b100), Level::PTE, &strict));
    }

    #[test]
    fn a_violation_tells_access_and_rights() {
        let rights = EptRights(EptFlags::READ | EptFlags::EXECUTE);
        assert_eq!(
            rights.qualification(Access::user(AccessKind::Write)),
            0b10 | 0b101 << 3
        );
    }
}
