//! Memory that is contiguous in kernel addresses only: `vmalloc`, `vmap`,
//! `ioremap`, `vm_map_ram`.
//!
//! ```text
//!   Vmalloc      what callers see: areas with frames, mapped and unmapped
//!     VaSpace      which addresses are free: a share per CPU, and a common one
//!       Book         one share: free ranges, areas, what waits for a flush
//!     Block        a run of addresses that a CPU cuts small maps from
//! ```

mod area;
mod block;
mod book;
mod cache_modes;
mod count;
mod fault;
mod flush_list;
mod map_ram;
mod memory;
#[cfg(all(test, loom))]
mod models;
mod proc_info;
mod ranges;
mod request;
mod space;
#[cfg(all(test, not(loom)))]
mod tests;
mod vmap;

pub use area::{AreaInfo, AreaKind, AreaState};
pub use cache_modes::CacheModeList;
pub use fault::BadAccess;
pub(crate) use flush_list::FlushList;
pub use map_ram::RamMap;
pub use memory::{Purging, Vmalloc, VmallocStats};
pub use request::{BadFree, LargePages, VmallocError, VmallocRequest};
