//! What the firmware says a range is.

use core::fmt;

/// What the firmware says about a range (E820 types).
///
/// Where entries overlap, the kind with the larger type number wins, as in
/// Linux: nobody allocates from what any entry calls reserved, and what is
/// unusable stays so under a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegionKind {
    /// Usable RAM.
    Usable,
    /// ROM, devices, firmware.
    Reserved,
    /// Firmware tables that may be reused once read.
    AcpiData,
    /// Firmware storage that must survive.
    AcpiNvs,
    /// Broken RAM.
    Unusable,
    /// Persistent memory.
    Persistent,
    /// Persistent memory by the type number that was used before there was a standard one.
    PersistentLegacy,
    /// RAM that is set aside for a purpose.
    SoftReserved,
    /// A type that nobody defined; treated as reserved.
    Other(u32),
}

impl RegionKind {
    /// The kind of an E820 type number.
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Usable,
            2 => Self::Reserved,
            3 => Self::AcpiData,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 => Self::Persistent,
            12 => Self::PersistentLegacy,
            0xefff_ffff => Self::SoftReserved,
            other => Self::Other(other),
        }
    }

    /// The E820 type number.
    pub const fn code(self) -> u32 {
        match self {
            Self::Usable => 1,
            Self::Reserved => 2,
            Self::AcpiData => 3,
            Self::AcpiNvs => 4,
            Self::Unusable => 5,
            Self::Persistent => 7,
            Self::PersistentLegacy => 12,
            Self::SoftReserved => 0xefff_ffff,
            Self::Other(code) => code,
        }
    }

    /// Whether ranges of this kind that touch stay apart, because their border
    /// may mean something.
    pub const fn stays_apart(self) -> bool {
        matches!(self, Self::PersistentLegacy | Self::SoftReserved)
    }

    /// The name in `/proc/iomem`.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Usable => "System RAM",
            Self::Reserved => "Reserved",
            Self::AcpiData => "ACPI Tables",
            Self::AcpiNvs => "ACPI Non-volatile Storage",
            Self::Unusable => "Unusable memory",
            Self::Persistent => "Persistent Memory",
            Self::PersistentLegacy => "Persistent Memory (legacy)",
            Self::SoftReserved => "Soft Reserved",
            Self::Other(_) => "Unknown E820 type",
        }
    }
}

/// As the boot log says it.
///
/// # Linux source concept
/// `e820_print_type()`.
impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Reserved => f.write_str("reserved"),
            Self::AcpiData => f.write_str("ACPI data"),
            Self::AcpiNvs => f.write_str("ACPI NVS"),
            Self::Unusable => f.write_str("unusable"),
            Self::Persistent | Self::PersistentLegacy => write!(f, "persistent (type {})", self.code()),
            Self::SoftReserved => f.write_str("soft reserved"),
            Self::Other(code) => write!(f, "type {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_kinds_are_one_to_one() {
        for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 128, 0xefff_ffff, u32::MAX] {
            assert_eq!(RegionKind::from_code(code).code(), code);
        }
    }
}
