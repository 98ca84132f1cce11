//! The kernel's own virtual memory: what a kernel maps for itself, above the
//! frames of `phys` and the page tables of `paging`.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod caller;
mod mapping;
mod mutant;
pub mod vmalloc;

pub use caller::Caller;
