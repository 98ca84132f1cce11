//! The kernel's own virtual memory: what a kernel maps for itself, above the
//! frames of `phys` and the page tables of `paging`.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
