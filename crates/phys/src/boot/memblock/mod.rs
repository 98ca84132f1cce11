//! The allocator before there is an allocator.

mod array;
mod dump;
mod memblock;
mod region;
mod regions;
mod request;
mod search;

pub use memblock::{Memblock, MemblockError, TooManyRegions};
pub use region::{Attributes, Region};
pub use request::{BootRequest, Direction, NodeWish};
