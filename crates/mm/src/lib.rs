//! Address spaces: what a program maps, and what happens when it touches it.
//!
//! The upper half is Linux's bookkeeping, exact to the errno: a tree of
//! [`Vma`]s, merged and split by Linux's rules, placed
//! by Linux's layout. It knows no page
//! table and works alone. The lower half is pages: objects, faults,
//! copy-on-write, reverse mappings.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod anon;
mod book;
mod calls;
mod counters;
#[cfg(test)]
mod drawn;
mod env;
mod fault;
mod flags;
mod fork;
mod history;
mod layout;
mod map;
mod merge;
mod mutant;
mod object;
mod ops;
mod pages;
mod references;
mod rmap;
mod space;
#[cfg(all(test, not(loom)))]
mod tests;
mod thp;
pub mod tree;
mod usercopy;
mod views;
mod vma;
mod work;

pub use anon::AnonFamily;
pub use book::{Book, Limits, Usage};
pub use counters::{CounterSnapshot, Counters, FaultCounts, FaultTally, Resident, Rss};
pub use env::Env;
pub use fault::{
    Access, Backed, Fault, FaultError, Outcome, Plan, Refusal, Resolved, Segv, Shows, SlotState, Weight,
    classify,
};
pub use flags::VmFlags;
pub use history::History;
pub use layout::{Growth, Layout, Randomness, STACK_GUARD, TASK_END, TASK_END_FIVE, task_end};
pub use map::{AddressMap, Change};
pub use object::{FileBacking, Latency, Object, ObjectId, Pages};
pub use ops::{
    Advised, FileMap, FilePlacement, MapRequest, Mapped, MoveRequest, Moved, ProtectRest, SyncPlan,
};
pub use pages::{PageView, Populate, PopulateError, Residency};
pub use references::Mappings;
pub use rmap::Background;
pub use space::{Space, SpaceViolation};
pub use thp::{Defrag, Global, Orders, SizeSetting, Thp, ThpEvent, ThpMode};
pub use tree::{Published, Tree};
pub use usercopy::{CopyError, StringError};
pub use vma::{Backing, FileLabel, Lineage, Mapping, Source, Vma, VmaGuard};
pub use work::{PageWork, Treatment, Zap};
