//! Tables and mappings before there are zones and slabs.
//!
//! [`EarlyTables`] gives frames for page tables from a buffer and then from
//! memblock, and reads and writes their entries. On them stand the direct map
//! ([`direct`](crate::direct)), the [`EarlyFixmap`], whose leaf tables are
//! contiguous, and [`EarlyIoremap`], some slots of it for looking at firmware.

mod error;
mod fixmap;
mod ioremap;
mod switched;
mod tables;
#[cfg(all(test, not(loom)))]
mod tests;
mod words;

pub use error::EarlyError;
pub use fixmap::EarlyFixmap;
pub use ioremap::{BadUnmap, EarlyIoremap, IoremapError, PAGES_PER_SLOT, SLOTS, Stale};
pub use switched::{switched_root, trampoline_root};
pub use tables::EarlyTables;
