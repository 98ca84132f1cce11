//! Memory of devices: frames with records that the allocator never gives out.
//!
//! A driver [maps](crate::Phys::map_device) a range, which gives its frames records in
//! the zone Device of a node. From then on the frames are counted like any: the
//! driver [takes](crate::Phys::take_device) one to hand it to a program, everybody
//! counts references as usual, and when the last goes the driver is
//! [told](DeviceOps::freed) and has the frame again.
//!
//! # Linux source concept
//! `ZONE_DEVICE`, `struct dev_pagemap`, mm/memremap.c.

mod error;
mod frames;
mod map;
mod memory;

pub use error::DeviceError;
pub use memory::{DeviceKind, DeviceMap, DeviceMemory, DeviceOps};
