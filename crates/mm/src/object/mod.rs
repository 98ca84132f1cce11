//! What a mapping shows: files through the page cache, and shared memory.

mod backing;
mod cache;

pub use backing::{FileBacking, Latency};
pub use cache::Pages;
