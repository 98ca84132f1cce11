//! From the firmware's map to a working allocator.

mod bring_up;
mod kind;
mod map;
mod memblock;
mod options;
mod tables;

pub use kind::RegionKind;
pub use map::{MAP_ENTRIES, MapEntry, MapError, MemoryMap, NodeId};
pub use memblock::{
    Attributes, BootRequest, Direction, Memblock, MemblockError, NodeWish, Region, TooManyRegions,
};
pub use options::{BootError, BootOptions, MinFree, OnViolation, Poison};
