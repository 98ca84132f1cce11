//! Things that happen later: the machine's queue of deadlines, and the
//! interval and POSIX timers of processes on top of it.

mod alarm;
mod clock;
mod process_timers;
mod queue;

pub use clock::Clock;
pub use process_timers::ProcessTimers;
pub use queue::{Expire, TimerId, TimerQueue};

pub(crate) use alarm::{arm, disarm, remaining};
pub(crate) use process_timers::{Notify, PosixTimer, Setting, Which};
