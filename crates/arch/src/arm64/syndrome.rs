//! What the processor writes into ESR_EL1 for a failed translation.

use super::descriptor::{Descriptor, DescriptorFlags};
use super::format::{Arm64, ArmControl, hardware_level};
use crate::explain::{Explanation, Stop};
use crate::format::{Entry, Format};

/// Why a translation failed, in the architecture's words (Arm ARM D8.15).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// The output address is too large, or there is no memory for a table.
    AddressSize,
    /// The descriptor is not valid, or the address has no translation.
    Translation,
    /// The access flag is clear and the hardware does not set it.
    AccessFlag,
    /// The rights forbid the access.
    Permission,
}

/// The fault status code (DFSC or IFSC) of a stopped walk, with its kind and
/// level; `None` if the walk did not stop.
pub fn fault_status<const GRANULE: u32, const BITS: u32>(
    told: &Explanation<Arm64<GRANULE, BITS>>,
    control: &ArmControl,
) -> Option<(FaultKind, i8, u8)> {
    let geometry = &Arm64::<GRANULE, BITS>::GEOMETRY;
    let (kind, level) = match told.stop? {
        Stop::NonCanonical => (FaultKind::Translation, geometry.top()),
        Stop::Nowhere(level) => (FaultKind::AddressSize, level),
        Stop::Absent(level, _) => (FaultKind::Translation, level),
        Stop::Reserved(level, _) => {
            let entry = told.steps().last().map(|step| step.entry);
            (reserved::<GRANULE, BITS>(entry, control), level)
        }
        Stop::Refused(level, _) => {
            let accessed = told
                .found
                .is_some_and(|found| found.rights.leaf.contains(DescriptorFlags::ACCESSED));
            let kind = if accessed || control.hardware_access {
                FaultKind::Permission
            } else {
                FaultKind::AccessFlag
            };
            (kind, level)
        }
    };
    let level = hardware_level(geometry, level);
    let code = match (kind, level) {
        (FaultKind::AddressSize, -1) => 0x29,
        (FaultKind::Translation, -1) => 0x2b,
        (FaultKind::AddressSize, level) => level as u8,
        (FaultKind::Translation, level) => 0x04 | level as u8,
        (FaultKind::AccessFlag, level) => 0x08 | level as u8,
        (FaultKind::Permission, level) => 0x0c | level as u8,
    };
    Some((kind, level, code))
}

fn reserved<const GRANULE: u32, const BITS: u32>(
    entry: Option<Descriptor<GRANULE, BITS>>,
    control: &ArmControl,
) -> FaultKind {
    let too_large = entry.is_some_and(|entry| {
        let target = entry.target(crate::level::Level::PTE);
        target.raw() >> control.physical_bits.min(63) != 0
    });
    if too_large {
        FaultKind::AddressSize
    } else {
        FaultKind::Translation
    }
}
