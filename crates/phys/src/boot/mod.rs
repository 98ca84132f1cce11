//! From the firmware's map to a working allocator.

mod bring_up;
mod map;
mod memblock;
mod options;
mod tables;

pub use map::{MAP_ENTRIES, MapEntry, MapFull, MemoryMap, NodeId, RegionKind};
pub use memblock::{BootRequest, Direction, Memblock, MemblockError, Region, TooManyRegions};
pub use options::{BootError, BootOptions, MinFree, OnViolation, Poison};
