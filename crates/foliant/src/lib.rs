//! Linux's memory manager as a library.
//!
//! A kernel has memory before it has anything else, and everything else stands
//! on it. This crate is that ground: the memory manager of Linux, in layers that
//! you take as far up as you need. Each layer is a module here, behind a feature
//! of its name, and every one is `no_std`.
//!
//! # 1. A machine is described
//!
//! Foliant asks of the world below it what a memory manager must know, and no
//! more: where RAM can be seen, which CPU this is, what time it is
//! ([`platform::Platform`]), and how translations are forgotten
//! ([`platform::Mmu`]). On hardware that is a type without bytes; on a hosted
//! machine, a handle. There is no global and no callback to register: whoever
//! needs the machine was given it.
//!
//! # 2. Memory becomes frames
//!
//! The firmware hands over a map of what is RAM and what is not. From it
//! `phys::Phys::boot` makes nodes, zones and a record for every frame, and keeps
//! all of its own tables in the RAM that it describes. A frame is had by saying
//! what it is for and how hard to try, and comes back when its last reference is
//! dropped. Each CPU has a few at hand, so most of this takes no lock.
//!
//! # 3. Frames become objects
//!
//! Nobody writes a kernel in pages. `kvirt::slab` cuts frames into objects of
//! any size and gives back what is whole again; `kvirt::slab::Heap` is the
//! global allocator, so that `Box` and `Vec` work from the first instruction on.
//! When a kernel must be told who writes behind the end of what, its caches
//! have red zones.
//!
//! # 4. Frames become addresses
//!
//! `paging` edits page tables that many CPUs read and write at once, and does
//! not let a frame go before the last translation to it is gone. `kvirt` maps
//! with it what a kernel maps for itself: `vmalloc`, stacks with a guard below,
//! slots that never move, memory for each CPU.
//!
//! All RAM has an address of its own besides, at a constant distance. One line
//! says so, and from then on memory that is added while the kernel runs is
//! mapped, and memory that is removed is not:
//!
//! ```
//! # #[cfg(feature = "kvirt")] {
//! use foliant::arch::layout::{Paging, Version, X86_64Bases};
//! use foliant::kvirt::direct::{FollowingConfig, FollowingMap};
//! use foliant::paging::PageTables;
//! use foliant::prelude::*;
//! use std::sync::Arc;
//!
//! fn show_ram<P: Mmu>(tables: &Arc<PageTables<P>>) -> Result<Arc<FollowingMap<P>>, Errno> {
//!     let places = X86_64Bases::fixed(Paging::Four, Version::Linux618);
//!     FollowingMap::of_ram(tables, FollowingConfig::x86_64(&places))
//! }
//! # }
//! ```
//!
//! A kernel whose boot has mapped RAM already goes on in those tables
//! (`EarlyTables::kernel_tables`, `FollowingMap::of_boot`). Programs' tables get
//! the top entries that are new with `FollowingMap::sync`, or in the handler of
//! the fault that shows that one is missing, with `FollowingMap::fault`.
//!
//! # 5. Addresses become programs
//!
//! `mm` is what programs see of all this: mappings that split and merge, pages
//! that come when they are touched, copies that are made when they are written.
//! `kernel` has the tasks, files and system calls around it. What a program can
//! observe there is what it would observe on Linux.
//!
//! Start with `examples/embed-minimal` in the repository, which walks from 1 to 4
//! in under 150 lines.
#![no_std]

#[cfg(feature = "arch")]
pub use foliant_arch as arch;
#[cfg(feature = "kernel")]
pub use foliant_kernel as kernel;
#[cfg(feature = "kvirt")]
pub use foliant_kvirt as kvirt;
#[cfg(feature = "mm")]
pub use foliant_mm as mm;
#[cfg(feature = "paging")]
pub use foliant_paging as paging;
#[cfg(feature = "phys")]
pub use foliant_phys as phys;
pub use foliant_platform as platform;
#[cfg(any(feature = "kvirt", feature = "mm"))]
pub use foliant_uapi as uapi;
pub use foliant_units as units;

/// What nearly every user of the library names.
pub mod prelude {
    pub use foliant_platform::{Mmu, Platform};
    pub use foliant_units::{
        Errno, Order, PAGE_SIZE, PageSize, Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr, VirtRange, Vpn,
        VpnRange,
    };
}
