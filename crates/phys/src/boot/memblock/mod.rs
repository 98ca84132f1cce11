//! The allocator before there is an allocator.

mod array;
mod dump;
mod lists;
mod region;
mod regions;
mod request;
mod search;

pub use lists::{Memblock, MemblockError, TooManyRegions};
pub use region::{Attributes, Region};
pub use request::{BootRequest, Direction, NodeWish};
