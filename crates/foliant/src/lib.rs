//! Linux's memory manager as a library.
//!
//! This is the crate to depend on: each layer is a module here, behind a
//! feature of its name. A kernel, unikernel or hypervisor implements
//! [`platform::Platform`] and [`platform::Mmu`], boots `phys`
//! with its memory map, and goes up from there as far as it needs.
//!
//! Every crate below is `no_std` and needs only `alloc`.
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
