//! Page tables.

mod gates;
mod multiarch;
mod ours;
mod peer;
mod workloads;

pub use gates::missed;
pub use workloads::run;

/// Pages that every workload maps: 1 GiB, all of 512 leaf tables.
pub(crate) const PAGES: u64 = 1 << 18;
