//! A TLB in software, per CPU: it keeps what it was not told to drop.

mod array;
mod command;
mod model;
mod stats;
mod structure;
#[cfg(test)]
mod tests;

pub use array::{Replacement, Shape};
pub use command::Invalidate;
pub use model::{Answer, Pcid, Tlb, TlbConfig, TlbEntry};
pub use stats::TlbStats;
pub use structure::StructureShapes;
