//! arm64, stage 1 of EL1 and EL0 (Arm ARM, chapter D8 "The AArch64 Virtual
//! Memory System Architecture").
//!
//! A format is a granule (12, 14 or 16 bits: 4, 16 or 64 KiB) and a size of
//! addresses: `Arm64<12, 48>` is what most Linux kernels use. Addresses of 52
//! bits mean the extended descriptors: `FEAT_LPA2` for the two small granules,
//! `FEAT_LPA` for 64 KiB.

mod descriptor;
mod format;
mod registers;
mod syndrome;

pub use descriptor::{Descriptor, DescriptorFlags};
pub use format::{Arm64, ArmControl, ArmRights, HierarchicalLimits, hardware_level};
pub use registers::{Granule, Half, Tcr, table_of};
pub use syndrome::{FaultKind, fault_status};
