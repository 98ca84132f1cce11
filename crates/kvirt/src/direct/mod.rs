//! The map of all low memory at a constant distance.

mod map;
mod protect;
mod split;

pub use map::{DirectConfig, DirectMap, init_mem_mapping};
pub use split::{MapPiece, MapPieces, PIECES, split_range};
