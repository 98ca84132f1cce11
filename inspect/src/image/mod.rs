//! Images of a machine's memory.

mod bytes;
mod cpu;
mod elf;
mod error;
mod extents;
pub(crate) mod fields;
mod kdump;
mod lime;
mod notes;
mod open;

pub use cpu::Cpu;
pub use error::ImageError;
pub use extents::RamRange;
pub(crate) use open::Opened;
pub use open::{Image, Kind, Machine};
