//! The steps of a boot before there are zones, each with its lines of the log.

mod image;
mod log;
mod machine;
mod reservations;
mod resources;
mod steps;
mod zones;

pub use image::{CrashKernel, KernelImage};
pub use log::Log;
pub use machine::{Dialect, MachineKind};
pub use reservations::Reservations;
pub use resources::resources;
pub use steps::{EarlyBoot, Limits};
