//! Hardware formats: the bits of page-table entries, the shape of the tables,
//! the walk that a processor does over them, and a model of its TLB.
//!
//! Nothing here owns memory. [`walk()`] reads and writes entries through
//! [`EntryMemory`], so the same walk serves a soft machine, a host process that
//! stands in for a TLB, and a memory image.
//!
//! A format is a small file: the bits of its entry ([`Entry`]), its
//! [`Geometry`], and how rights narrow from level to level ([`Format`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod access;
pub mod arm64;
pub mod ept;
mod explain;
mod format;
mod geometry;
mod kernel_leaf;
pub mod layout;
mod leaves;
mod level;
pub mod npt;
pub mod segment;
mod self_map;
pub mod tlb;
mod walk;
pub mod x86_64;
pub mod x86_legacy;
pub mod x86_pae;

pub use access::{Access, AccessKind, ErrorCode, Fault, Mode, PageFault};
pub use explain::{Explanation, Step, Stop, explain};
pub use format::{Entry, Format, Next, Refusal};
pub use geometry::{Above, Geometry, LevelShape};
pub use kernel_leaf::{CacheMode, KernelFormat, KernelProt};
pub use leaves::{Ended, Found, survey};
pub use level::Level;
pub use self_map::SelfMap;
pub use walk::{EntryMemory, Start, Translation, leaf_table, peek, table_at, walk, walk_from, walk_noting};
