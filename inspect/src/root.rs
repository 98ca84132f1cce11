//! Tables of a format that is known at run time only.

use foliant_arch::arm64::ArmControl;
use foliant_arch::ept::EptControl;
use foliant_arch::x86_64::Control;
use foliant_units::PhysAddr;

use crate::image::{Cpu, Machine};

/// A format of tables, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TableFormat {
    /// i386, two levels.
    X86Legacy,
    /// i386 with PAE.
    X86Pae,
    /// x86-64, four levels.
    X86_64,
    /// x86-64, five levels.
    X86_64La57,
    /// Intel's extended tables, four levels.
    Ept,
    /// AMD's nested tables, four levels.
    Npt,
    /// arm64, 4 KiB granule, 39 bits.
    Arm4K39,
    /// arm64, 4 KiB granule, 48 bits.
    Arm4K48,
    /// arm64, 4 KiB granule, 52 bits.
    Arm4K52,
    /// arm64, 16 KiB granule, 47 bits.
    Arm16K47,
    /// arm64, 16 KiB granule, 48 bits.
    Arm16K48,
    /// arm64, 16 KiB granule, 52 bits.
    Arm16K52,
    /// arm64, 64 KiB granule, 42 bits.
    Arm64K42,
    /// arm64, 64 KiB granule, 48 bits.
    Arm64K48,
    /// arm64, 64 KiB granule, 52 bits.
    Arm64K52,
}

impl TableFormat {
    /// All of them, with the names that people type.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::X86Legacy, "i386"),
        (Self::X86Pae, "pae"),
        (Self::X86_64, "x86-64"),
        (Self::X86_64La57, "x86-64-5level"),
        (Self::Ept, "ept"),
        (Self::Npt, "npt"),
        (Self::Arm4K39, "arm64-4k-39"),
        (Self::Arm4K48, "arm64-4k-48"),
        (Self::Arm4K52, "arm64-4k-52"),
        (Self::Arm16K47, "arm64-16k-47"),
        (Self::Arm16K48, "arm64-16k-48"),
        (Self::Arm16K52, "arm64-16k-52"),
        (Self::Arm64K42, "arm64-64k-42"),
        (Self::Arm64K48, "arm64-64k-48"),
        (Self::Arm64K52, "arm64-64k-52"),
    ];

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(format, _)| *format)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(format, _)| *format == self)
            .map_or("", |(_, name)| name)
    }

    /// arm64's format for a granule of `1 << granule` bytes and addresses of `bits` bits.
    pub fn arm64(granule: u32, bits: u32) -> Option<Self> {
        Some(match (granule, bits) {
            (12, 39) => Self::Arm4K39,
            (12, 48) => Self::Arm4K48,
            (12, 52) => Self::Arm4K52,
            (14, 47) => Self::Arm16K47,
            (14, 48) => Self::Arm16K48,
            (14, 52) => Self::Arm16K52,
            (16, 42) => Self::Arm64K42,
            (16, 48) => Self::Arm64K48,
            (16, 52) => Self::Arm64K52,
            _ => return None,
        })
    }

    /// Where the top table lies, if the register that names it holds `register`.
    pub fn table_in(self, register: u64) -> PhysAddr {
        PhysAddr::new(match self {
            Self::X86Legacy => register & 0xffff_f000,
            Self::X86Pae => register & 0xffff_ffe0,
            Self::X86_64 | Self::X86_64La57 | Self::Ept | Self::Npt => register & 0xf_ffff_ffff_f000,
            Self::Arm64K52 => return foliant_arch::arm64::table_of(register, true),
            _ => return foliant_arch::arm64::table_of(register, false),
        })
    }
}

/// What formats are walked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Controls {
    /// x86.
    pub x86: Control,
    /// arm64.
    pub arm: ArmControl,
    /// EPT.
    pub ept: EptControl,
}

/// Tables: their format and where they begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The format.
    pub format: TableFormat,
    /// The top table.
    pub table: PhysAddr,
    /// What decides about accesses.
    pub controls: Controls,
}

impl Root {
    /// Tables at `table`, with controls as Linux has them.
    pub fn new(format: TableFormat, table: PhysAddr) -> Self {
        Self {
            format,
            table,
            controls: Controls::default(),
        }
    }

    /// The tables that an x86 processor uses; `None` if it uses none.
    pub fn of_cpu(machine: Machine, cpu: &Cpu) -> Option<Self> {
        if !cpu.has_paging() {
            return None;
        }
        let format = match machine {
            Machine::X86_64 if cpu.has_five_levels() => TableFormat::X86_64La57,
            Machine::X86_64 => TableFormat::X86_64,
            _ if cpu.has_pae() => TableFormat::X86Pae,
            _ => TableFormat::X86Legacy,
        };
        Some(Self::new(format, format.table_in(cpu.cr3)))
    }
}

/// Runs an expression with the type of a [`Root`]'s format and its control:
/// `with_format!(root, F, control => survey::<F>(&image, root.table, control, most, visit))`.
#[macro_export]
macro_rules! with_format {
    ($root:expr, $format:ident, $control:ident => $body:expr) => {{
        use $crate::foliant_arch::{arm64::Arm64, ept::Ept, npt::Npt, x86_64, x86_legacy, x86_pae};
        let root: $crate::Root = $root;
        macro_rules! run {
            ($type:ty, $field:ident) => {{
                type $format = $type;
                let $control = &root.controls.$field;
                $body
            }};
        }
        match root.format {
            $crate::TableFormat::X86Legacy => run!(x86_legacy::X86Legacy, x86),
            $crate::TableFormat::X86Pae => run!(x86_pae::X86Pae, x86),
            $crate::TableFormat::X86_64 => run!(x86_64::X86_64, x86),
            $crate::TableFormat::X86_64La57 => run!(x86_64::X86_64La57, x86),
            $crate::TableFormat::Ept => run!(Ept<false>, ept),
            $crate::TableFormat::Npt => run!(Npt<false>, x86),
            $crate::TableFormat::Arm4K39 => run!(Arm64<12, 39>, arm),
            $crate::TableFormat::Arm4K48 => run!(Arm64<12, 48>, arm),
            $crate::TableFormat::Arm4K52 => run!(Arm64<12, 52>, arm),
            $crate::TableFormat::Arm16K47 => run!(Arm64<14, 47>, arm),
            $crate::TableFormat::Arm16K48 => run!(Arm64<14, 48>, arm),
            $crate::TableFormat::Arm16K52 => run!(Arm64<14, 52>, arm),
            $crate::TableFormat::Arm64K42 => run!(Arm64<16, 42>, arm),
            $crate::TableFormat::Arm64K48 => run!(Arm64<16, 48>, arm),
            $crate::TableFormat::Arm64K52 => run!(Arm64<16, 52>, arm),
        }
    }};
}
