//! The kernel's own virtual memory: what a kernel maps for itself, above the
//! frames of `phys` and the page tables of `paging`.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod caller;
pub mod direct;
pub mod early;
pub mod fixmap;
pub mod kmap;
mod mapping;
mod mutant;
pub mod percpu;
pub mod slab;
pub mod stack;
mod usage;
pub mod vmalloc;

pub use caller::Caller;
pub use usage::KernelMemory;
