//! Memory that every CPU has a copy of.
//!
//! A *chunk* is a run of kernel addresses with one *unit* for each CPU, all of
//! the same size. An allocation is an offset that is taken in all units of a
//! chunk at once, so the copy of a CPU is found by adding a multiple of the
//! unit size. The first chunk begins with the kernel's static variables.
//!
//! ```text
//!   chunk   | unit of CPU 0     | unit of CPU 1     | ...
//!   first   | static|res.|dyn.  | static|res.|dyn.  |
//!   others  | dynamic           | dynamic           |
//! ```

mod allocator;
mod chunk_map;
mod chunks;
mod request;
#[cfg(all(test, not(loom)))]
mod tests;

pub use allocator::PerCpu;
pub use chunks::PerCpuStats;
pub use request::{FirstChunk, From, PerCpuError, PerCpuPtr, PerCpuRequest};
