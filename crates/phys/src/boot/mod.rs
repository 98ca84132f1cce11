//! From the firmware's map to a working allocator.

mod bring_up;
mod e820;
mod early;
mod first_megabyte;
mod kind;
mod map;
mod memblock;
mod options;
mod pieces;
mod tables;

pub use e820::{E820_ENTRY, LogError, PVH_ENTRY};
pub use early::{
    CrashKernel, Dialect, EarlyBoot, KernelImage, Limits, Log, MachineKind, Reservations, resources,
};
pub use first_megabyte::{BIOS_HOLE, BiosData, FIRST_MEGABYTE, REAL_MODE};
pub use kind::RegionKind;
pub use map::{MAP_ENTRIES, MapEntry, MapError, MemoryMap, NodeId};
pub use memblock::{
    Attributes, BootRequest, Direction, Memblock, MemblockError, NodeWish, Region, TooManyRegions,
};
pub use options::{BootError, BootOptions, MinFree, OnViolation, Poison};
