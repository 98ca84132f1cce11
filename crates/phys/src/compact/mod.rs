//! Making large free folios out of small ones, by moving what lies between.

mod daemon;
mod defer;
mod index;
mod knobs;
mod scan;
mod when;

pub(crate) use daemon::Daemons;
pub(crate) use defer::Deferral;
pub use index::Fragmentation;
pub(crate) use knobs::Knobs;
pub use when::Compacted;
pub(crate) use when::{Captured, Deferring};
