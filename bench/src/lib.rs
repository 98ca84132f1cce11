//! What Foliant and its peers cost, side by side in one process.
//!
//! Bare times say more about the machine than about the code, so every row
//! names both and their ratio.

pub mod frames;
pub mod images;
pub mod kvirt;
mod machine;
mod measure;
pub mod objects;
mod row;
pub mod tables;

pub use row::{Row, print};
