//! Page faults: from an access that the tables did not allow to an entry that
//! does, or to a signal.

mod classify;
mod outcome;

pub use classify::{Access, Backed, Plan, Refusal, Shows, SlotState, classify};
pub use outcome::{Fault, FaultError, Outcome, Resolved, Segv, Weight};
