//! What a mapping shows: files through the page cache, and shared memory.

mod backing;
mod cache;
mod fill;
mod io;
mod layout;
#[expect(clippy::module_inception, reason = "one concept, and its parts beside it")]
mod object;
mod reclaim;
mod resize;
mod shared_zero;
mod shmem;
mod writeback;

pub use backing::{FileBacking, Latency};
pub use cache::Pages;
pub(crate) use fill::FillError;
pub(crate) use layout::Layout;
pub use object::{Object, ObjectId};
pub(crate) use reclaim::IdleCache;
pub(crate) use shared_zero::SharedZero;
