//! What can be wrong with an image.

use std::io;

use foliant_units::PhysAddr;
use thiserror::Error;

/// Why an image cannot be opened or read.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The host says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file ends inside this part.
    #[error("the file ends inside its {0}")]
    Truncated(&'static str),
    /// This part contradicts itself or the rest.
    #[error("its {0} make no sense")]
    Nonsense(&'static str),
    /// A valid file of a sort that is not read.
    #[error("{0} are not read")]
    Unsupported(&'static str),
    /// There is no memory at this address.
    #[error("no memory at {:#x}", .0.raw())]
    NoMemory(PhysAddr),
    /// The memory is there, but its page does not unpack.
    #[error("the page at {:#x} does not unpack", .0.raw())]
    BadPage(PhysAddr),
}
