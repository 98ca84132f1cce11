//! Page tables as structures that many CPUs share.
//!
//! A space's tables are edited one leaf table at a time. [`PageTables::lock_leaf`]
//! descends without a lock, locks the leaf table, and starts again if the table
//! was unlinked in between; [`Leaf`] is then the right to change its entries.
//! Different leaf tables never contend. The hardware changes entries too
//! (accessed and dirty bits), so a [`Leaf`] changes present entries by atomic
//! exchange only; an [`ExclusiveCursor`], for tables that no CPU uses yet,
//! uses plain stores.
//!
//! # The lock protocol
//!
//! 1. Every table has a lock word in its frame's record, with the states
//!    *open*, *locked* and *detached*. Who holds the lock may change the
//!    table's entries.
//! 2. A link to a new table is put into an empty entry with the table above
//!    locked. No two table locks are ever held together.
//! 3. A table is unlinked in two steps: with its own lock held and all entries
//!    empty it becomes *detached*, for good; then, with the table above locked,
//!    its entry there is emptied. Between the two a descent finds a detached
//!    table and tries again.
//! 4. A descent pins an epoch from its first look at the root until it holds a
//!    lock. An unlinked table is freed only after the TLBs were flushed
//!    ([`Gather`]) and all descents that may have seen it are over.
//!
//! Everything but [`PhysStore`] is generic over [`Store`], so that `loom`
//! checks the protocol that runs.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod audit;
mod descend;
mod direct;
mod epoch;
mod exclusive;
mod gather;
mod group;
mod leaf;
mod limbo;
mod lock;
#[cfg(test)]
mod model_store;
#[cfg(all(test, loom))]
mod models;
mod mutant;
mod phys_store;
mod prune;
mod share;
mod split;
mod store;
#[cfg(all(test, not(loom)))]
mod tests;
mod tree;
mod unrolled;

use foliant_arch::x86_64::LongMode;
use foliant_platform::Mmu;

pub use audit::Violation;
pub use descend::Missing;
pub use epoch::{Epoch, Pin};
pub use exclusive::ExclusiveTables;
pub use gather::GatherOf;
pub use leaf::TableGuard;
pub use phys_store::PhysStore;
pub use share::TopSync;
pub use store::{Header, Store, Words};
pub use tree::{Reader, Tree};

/// The page tables of one space, in frames of the machine's RAM.
pub type PageTables<P, F = LongMode<<P as Mmu>::Levels>> = Tree<PhysStore<P>, F>;
/// One locked table of a [`PageTables`].
pub type Leaf<'t, P, F = LongMode<<P as Mmu>::Levels>> = TableGuard<'t, PhysStore<P>, F>;
/// What was taken out of a [`PageTables`] and is not flushed yet.
pub type Gather<'t, P, F = LongMode<<P as Mmu>::Levels>> = GatherOf<'t, PhysStore<P>, F>;
/// Editing a [`PageTables`] that nobody else uses.
pub type ExclusiveCursor<'t, P, F = LongMode<<P as Mmu>::Levels>> = ExclusiveTables<'t, PhysStore<P>, F>;
