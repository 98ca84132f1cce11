//! Sleeping and waking, in straight-line code.
//!
//! A task that must wait puts itself on one or more [`WaitQueue`]s and parks
//! until its condition holds, its time is over or a signal wants it. Whoever
//! changes the condition wakes the queue afterwards. Nothing here is generic,
//! so files and timers need not know what machine they run on.

mod parker;
mod queue;

pub use parker::{Doing, Interrupt, Parker, Sleeper, WaitError, Wake};
pub use queue::{Registration, WaitQueue};
