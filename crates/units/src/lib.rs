//! The units that every other Foliant crate speaks in.
//!
//! No bare integer crosses a function boundary: an address is a [`VirtAddr`]
//! or a [`PhysAddr`], a page number a [`Vpn`] or a [`Pfn`], a power-of-two
//! block size an [`Order`]. *Page* means virtual, *frame* means physical.
//!
//! This crate has no dependencies and no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

mod addr;
mod errno;
mod order;
mod page;
mod range;

pub use addr::{PhysAddr, VirtAddr};
pub use errno::Errno;
pub use order::{MAX_ORDER, Order};
pub use page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, PageSize, Pfn, Vpn};
pub use range::{PfnRange, PhysRange, VirtRange, VpnRange};
