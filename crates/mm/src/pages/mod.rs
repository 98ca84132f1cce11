//! Pages of one mapping at a time: what the operations on VMAs are made of.
//!
//! Each function walks leaf tables, one lock at a time, and leaves what must
//! be flushed in a gather that its caller pays.

mod advise;
mod populate;
mod protect;
mod relocate;
mod residency;
pub(crate) mod slot;
mod work;
mod zap;

pub(crate) use advise::forget_references;
pub use populate::{Populate, PopulateError};
pub(crate) use protect::clean;
pub use residency::{PageView, Residency};
pub(crate) use residency::{residency, view};
pub(crate) use work::Work;
pub(crate) use zap::{Removal, zap};
