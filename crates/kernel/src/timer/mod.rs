//! Things that happen later.

mod queue;

pub use queue::{Expire, TimerId, TimerQueue};
