//! What every frame allocator obeys.

mod foliant;
mod law;
mod naive;

pub use foliant::Foliant;
pub use law::{Frames, obeys};
pub use naive::Naive;
