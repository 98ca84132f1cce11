//! An ordered set of ranges that do not overlap, with the free space between.
//!
//! A [`Tree`] is a value: a clone shares everything and costs one reference
//! count, an edit copies the path it touches and nothing else. So a writer
//! edits a clone in private, drops it if the operation fails, and otherwise
//! [publishes](Published) it; readers see the state before or after, never between.

mod edit;
mod gap;
mod iter;
mod node;
mod published;
mod shared;
#[cfg(test)]
mod test;

pub use gap::{Direction, GapRequest};
pub use iter::Iter;
pub use node::{Spanned, Tree};
pub use published::Published;
