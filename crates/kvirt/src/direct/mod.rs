//! The map of all low memory at a constant distance: as the boot makes it
//! ([`init_mem_mapping`]), and as a running kernel has it ([`FollowingMap`]).

mod following;
mod map;
mod protect;
mod split;

pub(crate) use following::copy_top;
pub use following::{Above, FollowingConfig, FollowingMap};
pub use map::{DirectConfig, DirectMap, init_mem_mapping};
pub use split::{MapPiece, MapPieces, PIECES, split_range};
