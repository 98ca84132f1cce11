//! x86-64 with four levels: 9-9-9-9-12 bits, 48-bit addresses.

mod absent;
mod flags;
mod format;
mod kernel_leaf;
mod layout;
mod pte;

pub use absent::{Absent, Markers, MigrationKind, PrivateKind, SwapEntry, SwapMarks};
pub use flags::PteFlags;
pub use format::{Control, Pkru, Rights, X86_64};
pub use layout::{Layout, Region, layout};
pub use pte::{MAX_PHYS_BITS, Pte};
