//! The machine's own devices, laid over the host's `/dev`.

mod directory;
mod memory;

pub use directory::DevDirectory;
pub use memory::{Device, DeviceFile};
