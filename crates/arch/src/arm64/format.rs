//! Geometry, and how rights narrow from level to level.

use super::descriptor::{Descriptor, DescriptorFlags as Flags};
use crate::access::{Access, AccessKind, ErrorCode, Mode};
use crate::format::{Entry, Format, Refusal};
use crate::geometry::{Above, Geometry, LevelShape};
use crate::level::Level;

/// Stage 1 tables with a granule of `1 << GRANULE` bytes for addresses of `BITS` bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arm64<const GRANULE: u32, const BITS: u32>;

/// What decides about an access (SCTLR_EL1, TCR_EL1, PSTATE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmControl {
    /// SCTLR.WXN: what can be written cannot be executed.
    pub write_implies_no_execute: bool,
    /// PSTATE.PAN: the kernel must not touch user pages.
    pub privileged_access_never: bool,
    /// TCR.HA: the hardware sets the access flag; else its absence is a fault.
    pub hardware_access: bool,
    /// TCR.HD: the hardware clears `READ_ONLY` where `DIRTY_MODIFIER` is set.
    pub hardware_dirty: bool,
    /// TCR.HPD: limits in table descriptors do not count.
    pub ignore_table_limits: bool,
    /// Bits of a physical address (TCR.IPS).
    pub physical_bits: u32,
}

impl Default for ArmControl {
    /// As Linux runs on a core without hardware management: flags are set by faults.
    fn default() -> Self {
        Self {
            write_implies_no_execute: false,
            privileged_access_never: true,
            hardware_access: false,
            hardware_dirty: false,
            ignore_table_limits: false,
            physical_bits: 52,
        }
    }
}

/// What the table descriptors passed take away (D8.4.2 "Hierarchical control").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HierarchicalLimits(Flags);

/// What a walk found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ArmRights {
    /// The leaf's bits: `USER`, `READ_ONLY`, `ACCESSED`, `DIRTY_MODIFIER`,
    /// `KERNEL_NO_EXECUTE`, `USER_NO_EXECUTE`.
    pub leaf: Flags,
    /// Limits of the tables.
    pub limits: HierarchicalLimits,
}

/// Bits of a leaf that decide.
const LEAF: Flags = Flags::USER
    .union(Flags::READ_ONLY)
    .union(Flags::ACCESSED)
    .union(Flags::DIRTY_MODIFIER)
    .union(Flags::KERNEL_NO_EXECUTE)
    .union(Flags::USER_NO_EXECUTE);
/// Bits of a table that limit.
const TABLE: Flags = Flags::TABLE_KERNEL_NO_EXECUTE
    .union(Flags::TABLE_USER_NO_EXECUTE)
    .union(Flags::TABLE_NO_USER)
    .union(Flags::TABLE_READ_ONLY);

impl ArmRights {
    fn limited(self, by: Flags, control: &ArmControl) -> bool {
        !control.ignore_table_limits && self.limits.0.contains(by)
    }

    /// Whether programs have access.
    pub fn is_user(self, control: &ArmControl) -> bool {
        self.leaf.contains(Flags::USER) && !self.limited(Flags::TABLE_NO_USER, control)
    }

    /// Whether a write is allowed.
    pub fn is_writable(self, control: &ArmControl) -> bool {
        let dirties = control.hardware_dirty && self.leaf.contains(Flags::DIRTY_MODIFIER);
        (!self.leaf.contains(Flags::READ_ONLY) || dirties) && !self.limited(Flags::TABLE_READ_ONLY, control)
    }

    /// Whether `mode` may execute.
    pub fn is_executable(self, mode: Mode, control: &ArmControl) -> bool {
        if control.write_implies_no_execute && self.is_writable(control) {
            return false;
        }
        match mode {
            Mode::User => {
                self.is_user(control)
                    && !self.leaf.contains(Flags::USER_NO_EXECUTE)
                    && !self.limited(Flags::TABLE_USER_NO_EXECUTE, control)
            }
            Mode::Supervisor => {
                // What programs can write the kernel never executes.
                let lent = self.is_user(control) && self.is_writable(control);
                let forbidden = self.leaf.contains(Flags::KERNEL_NO_EXECUTE)
                    || self.limited(Flags::TABLE_KERNEL_NO_EXECUTE, control);
                !lent && !forbidden
            }
        }
    }
}

/// The shape of tables with this granule for addresses of this size: full
/// tables from below, and what remains at the top.
const fn geometry(granule: u32, bits: u32) -> Geometry {
    let per_level = granule - 3;
    let extended = bits > 48;
    let levels = (bits - granule).div_ceil(per_level);
    let top = granule + per_level * (levels - 1);
    let mut shapes = [LevelShape::folded(top); Level::COUNT];
    let mut at = 0;
    while at < levels {
        let shift = granule + per_level * at;
        // Blocks: 2 MiB and 1 GiB, 32 MiB, 512 MiB; one size more with 52 bits.
        let sizes = if granule == 12 { 2 } else { 1 };
        let leaf = at <= sizes + extended as u32;
        let (index, width) = if at + 1 == levels {
            (Level::PGD.index(), bits - shift)
        } else {
            (at as usize, per_level)
        };
        shapes[index] = LevelShape::new(shift, width, leaf);
        at += 1;
    }
    Geometry {
        levels: shapes,
        entry_bytes: 8,
        address_bits: bits,
        above: Above::Half,
    }
}

/// The architecture's number of `level`: 3 for pages, less above, -1 for the
/// fifth level.
pub fn hardware_level(geometry: &Geometry, level: Level) -> i8 {
    let below = Level::all().filter(|&at| at < level && !geometry.is_folded(at));
    3 - below.count() as i8
}

impl<const GRANULE: u32, const BITS: u32> Format for Arm64<GRANULE, BITS> {
    type Entry = Descriptor<GRANULE, BITS>;
    type Rights = ArmRights;
    type Control = ArmControl;

    const GEOMETRY: Geometry = geometry(GRANULE, BITS);

    const OPEN: ArmRights = ArmRights {
        leaf: Flags::empty(),
        limits: HierarchicalLimits(Flags::empty()),
    };

    #[inline]
    fn narrow(rights: ArmRights, entry: Self::Entry, level: Level) -> ArmRights {
        let flags = Flags::from_bits_truncate(entry.raw());
        if entry.is_leaf(level) {
            return ArmRights {
                leaf: flags.intersection(LEAF),
                ..rights
            };
        }
        ArmRights {
            limits: HierarchicalLimits(rights.limits.0.union(flags.intersection(TABLE))),
            ..rights
        }
    }

    /// A block where none can be, or an address that is too large. (The
    /// architecture reports the first as a translation fault, the second as an
    /// address size fault.)
    #[inline]
    fn is_reserved(entry: Self::Entry, level: Level, control: &ArmControl) -> bool {
        let block = !entry.has(Flags::TABLE);
        let misplaced = block && (level == Level::PTE || !Self::GEOMETRY.can_be_leaf(level));
        misplaced || entry.target(level).raw() >> control.physical_bits.min(63) != 0
    }

    #[inline]
    fn touch(entry: Self::Entry, level: Level, written: bool, control: &ArmControl) -> Self::Entry {
        if !entry.is_leaf(level) || !control.hardware_access {
            return entry;
        }
        entry.touched(written && control.hardware_dirty)
    }

    /// The contiguous bit (D8.6.1): 64 KiB, 2 MiB or 2 MiB of pages, and of the
    /// smallest blocks 32 MiB, 1 GiB or 16 GiB.
    fn group(level: Level) -> usize {
        match (GRANULE, hardware_level(&Self::GEOMETRY, level)) {
            (12, _) => 16,
            (14, 3) => 128,
            (14 | 16, 2) | (16, 3) => 32,
            _ => 1,
        }
    }

    fn permit(rights: ArmRights, access: Access, control: &ArmControl) -> Result<(), Refusal> {
        let user = rights.is_user(control);
        let used = rights.leaf.contains(Flags::ACCESSED) || control.hardware_access;
        let reachable = match access.mode {
            Mode::User => user,
            Mode::Supervisor => {
                access.kind == AccessKind::Execute || !(user && control.privileged_access_never)
            }
        };
        let allowed = match access.kind {
            AccessKind::Read => true,
            AccessKind::Write => rights.is_writable(control),
            AccessKind::Execute => rights.is_executable(access.mode, control),
        };
        if used && reachable && allowed {
            Ok(())
        } else {
            Err(Refusal(ErrorCode::empty()))
        }
    }

    fn describe(access: Access, _control: &ArmControl) -> ErrorCode {
        crate::x86_64::describe(access, true)
    }

    fn exceeds(more: ArmRights, less: ArmRights) -> bool {
        // Leaf bits that allow, and limits that forbid.
        let allow = Flags::USER | Flags::ACCESSED | Flags::DIRTY_MODIFIER;
        let forbid = LEAF.difference(allow);
        !less.leaf.contains(more.leaf.intersection(allow))
            || !more.leaf.contains(less.leaf.intersection(forbid))
            || !more.limits.0.contains(less.limits.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape<F: Format>() -> [(u32, u32); Level::COUNT] {
        F::GEOMETRY.levels.map(|level| (level.shift, level.bits))
    }

    #[test]
    fn the_shapes_are_those_of_the_manual() {
        let folded = |shift| (shift, 0);
        let small = [(12, 9), (21, 9), (30, 9), folded(39), (39, 9)];
        assert_eq!(shape::<Arm64<12, 48>>(), small);
        let short = [(12, 9), (21, 9), folded(30), folded(30), (30, 9)];
        assert_eq!(shape::<Arm64<12, 39>>(), short);
        let large = [(12, 9), (21, 9), (30, 9), (39, 9), (48, 4)];
        assert_eq!(shape::<Arm64<12, 52>>(), large);
        let middle = [(14, 11), (25, 11), folded(36), folded(36), (36, 11)];
        assert_eq!(shape::<Arm64<14, 47>>(), middle);
        let one_bit = [(14, 11), (25, 11), (36, 11), folded(47), (47, 1)];
        assert_eq!(shape::<Arm64<14, 48>>(), one_bit);
        let two = [(16, 13), folded(29), folded(29), folded(29), (29, 13)];
        assert_eq!(shape::<Arm64<16, 42>>(), two);
        let wide = [(16, 13), (29, 13), folded(42), folded(42), (42, 10)];
        assert_eq!(shape::<Arm64<16, 52>>(), wide);
    }

    #[test]
    fn blocks_are_where_the_manual_allows_them() {
        let leaves = |geometry: Geometry| {
            Level::all()
                .filter(|&level| geometry.can_be_leaf(level))
                .map(|level| hardware_level(&geometry, level))
                .collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(leaves(Arm64::<12, 48>::GEOMETRY), [3, 2, 1]);
        assert_eq!(leaves(Arm64::<12, 52>::GEOMETRY), [3, 2, 1, 0]);
        assert_eq!(leaves(Arm64::<14, 48>::GEOMETRY), [3, 2]);
        assert_eq!(leaves(Arm64::<14, 52>::GEOMETRY), [3, 2, 1]);
        assert_eq!(leaves(Arm64::<16, 42>::GEOMETRY), [3, 2]);
        assert_eq!(leaves(Arm64::<16, 52>::GEOMETRY), [3, 2, 1]);
    }

    #[test]
    fn programs_and_kernel_have_their_own_rights() {
        let control = ArmControl::default();
        let rights = |leaf: Flags| ArmRights {
            leaf: leaf | Flags::ACCESSED,
            ..Arm64::<12, 48>::OPEN
        };
        let may = |leaf, access| Arm64::<12, 48>::permit(rights(leaf), access, &control).is_ok();
        let (read, write) = (AccessKind::Read, AccessKind::Write);
        assert!(may(Flags::USER, Access::user(write)));
        assert!(!may(Flags::USER | Flags::READ_ONLY, Access::user(write)));
        assert!(!may(Flags::empty(), Access::user(read)));
        assert!(!may(Flags::USER, Access::supervisor(read)), "PAN");
        assert!(
            !may(Flags::USER, Access::supervisor(AccessKind::Execute)),
            "programs can write it"
        );
        let shared = Flags::USER | Flags::READ_ONLY;
        assert!(may(shared, Access::supervisor(AccessKind::Execute)));
        let text = shared | Flags::KERNEL_NO_EXECUTE;
        assert!(!may(text, Access::supervisor(AccessKind::Execute)));
        assert!(may(text, Access::user(AccessKind::Execute)));
    }

    #[test]
    fn the_access_flag_faults_unless_the_hardware_sets_it() {
        let rights = ArmRights {
            leaf: Flags::USER,
            ..Arm64::<12, 48>::OPEN
        };
        let read = Access::user(AccessKind::Read);
        let software = ArmControl::default();
        let hardware = ArmControl {
            hardware_access: true,
            ..software
        };
        assert!(Arm64::<12, 48>::permit(rights, read, &software).is_err());
        assert!(Arm64::<12, 48>::permit(rights, read, &hardware).is_ok());
    }

    #[test]
    fn a_write_cleans_the_read_only_bit_where_hardware_manages_it() {
        let leaf = Flags::VALID | Flags::USER | Flags::READ_ONLY | Flags::DIRTY_MODIFIER;
        let entry = Descriptor::<12, 48>::leaf(foliant_units::Pfn::new(7), Level::PTE, leaf);
        let control = ArmControl {
            hardware_access: true,
            hardware_dirty: true,
            ..ArmControl::default()
        };
        let written = Arm64::<12, 48>::touch(entry, Level::PTE, true, &control);
        assert!(written.is_dirty() && written.is_accessed());
        let read = Arm64::<12, 48>::touch(entry, Level::PTE, false, &control);
        assert!(!read.is_dirty() && read.is_accessed());
    }
}
