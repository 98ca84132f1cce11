//! Making large free folios out of small ones, by moving what lies between.

mod index;
mod scan;
mod when;

pub use index::Fragmentation;
pub use when::Compacted;
