//! Page faults: from an access that the tables did not allow to an entry that
//! does, or to a signal.
//!
//! [`resolve`](resolve::resolve) reads top to bottom: find the VMA, ask whether
//! it permits the access, look at the entry, [decide](classify()), do, publish.

mod ahead;
mod anonymous;
mod classify;
#[cfg(all(test, loom))]
mod copy_models;
mod exclusive;
mod large;
#[cfg(all(test, loom))]
mod models;
mod object;
mod outcome;
mod page;
mod resolve;

pub(crate) use ahead::fill_ahead;
pub use classify::{Access, Backed, Plan, Refusal, Shows, SlotState, classify};
pub use outcome::{Fault, FaultError, Outcome, Resolved, Segv, Weight};
pub(crate) use resolve::{Wait, resolve_blocking};
