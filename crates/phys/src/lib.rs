//! Physical memory: boot memory, nodes, zones, frame records and the frame
//! allocator.
//!
//! [`Phys::boot`] turns the firmware's [`MemoryMap`] into a working allocator
//! that keeps all of its own tables in the RAM it manages.
//! [`Phys::alloc`] gives a [`Frame`], a counted reference to a folio, whose
//! bytes are reached through [`Content`] and whose state is in its
//! [`FrameRecord`].
//!
//! ```
//! use foliant_phys::{AllocRequest, Owner, testing};
//!
//! let phys = testing::boot(64);
//! let frame = phys.alloc(AllocRequest::kernel(Owner::Test).zeroed())?;
//! frame.content().write(0, b"hello");
//! drop(frame);
//! testing::assert_all_free(&phys);
//! # Ok::<(), foliant_phys::AllocError>(())
//! ```
//!
//! **Invariants.** Every frame of RAM is at any time in exactly one place: free
//! in the line of its block or with all of it in the map of whole blocks, in one CPU's ring, part of a folio with
//! references, or reserved ([`Phys::audit`] checks). Nothing in this crate
//! sleeps, except in the [`Reclaimer`] that was handed in, and where memory is
//! added or removed. `unsafe` is where memory becomes tables (`ram.rs`,
//! `sectioned.rs` and those that give them memory) and in `content.rs`.
#![no_std]

extern crate alloc as std_alloc;

mod account;
mod alloc;
mod audit;
pub mod boot;
mod cma;
mod compact;
mod console;
mod content;
mod device;
mod frame;
mod migrate;
#[cfg(all(test, loom))]
mod models;
mod mutant;
mod page_owner;
mod parts;
mod phys;
mod plug;
mod poison;
mod ram;
mod reclaim;
mod record;
mod sectioned;
mod sections;
mod stats;
mod tables;
#[cfg(feature = "testing")]
pub mod testing;
mod zone;

pub use account::{Accountant, Refused};
pub use alloc::{
    Account, AllocError, AllocRequest, BlockKind, ContigError, Effort, Event, Fill, Gfp, Mobility,
    NodeChoice, OnFailure, Run,
};
pub use audit::{Census, Violation};
pub use boot::{BootError, BootOptions, MemoryMap, NodeId};
pub use cma::{CmaArea, CmaError};
pub use compact::{Compacted, Fragmentation};
pub use console::{Console, Who};
pub use content::{Content, WORDS};
pub use device::{DeviceError, DeviceKind, DeviceMap, DeviceMemory, DeviceOps};
pub use frame::Frame;
pub use migrate::{Migrator, Moved};
pub use page_owner::OwnedFolio;
pub use phys::Phys;
pub use plug::{
    AddError, MapMemory, NewMemory, OnlineTo, RecordsIn, RemoveError, SectionError, SectionState,
};
pub use poison::POISON;
pub use reclaim::{OomVerdict, Progress, Reclaimer};
pub use record::{Count, FrameFlags, FrameRecord, Left, MapCount, Owner, RecordView};
pub use sections::SECTION;
pub use stats::{FreeByOrder, MemoryStats, ORDERS, ZoneStats};
pub use zone::{
    Distances, MAX_NODES, Mark, Watermarks, ZONE_KINDS, Zone, ZoneId, ZoneKind, ZoneLayout, Zones,
};
