//! The direct map of a running kernel, which follows memory that comes and goes.

mod config;
mod follow;
mod map;
#[cfg(all(test, not(loom)))]
mod tests;
mod window;

pub use config::{Above, FollowingConfig};
pub use map::FollowingMap;
pub(crate) use window::copy_top;
