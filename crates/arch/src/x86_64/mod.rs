//! x86-64: four levels of 9 bits (48-bit addresses), or five (57-bit).

mod absent;
mod control;
mod flags;
mod format;
mod kernel_leaf;
mod pte;

pub use absent::{Absent, Markers, MigrationKind, PrivateKind, SwapEntry, SwapMarks};
pub(crate) use control::describe;
pub use control::{Control, Pkru, Rights};
pub use flags::PteFlags;
pub use foliant_platform::{FiveLevels, FourLevels, Levels};
pub(crate) use format::geometry;
pub use format::{LongMode, X86_64, X86_64La57};
pub use pte::{MAX_PHYS_BITS, Pte};
