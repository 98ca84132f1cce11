//! Host mechanics: stub processes, how they trap, and how they are told what to do.

mod answers;
mod control;
mod error;
mod filter;
mod frame;
mod layout;
mod notify;
mod op;
mod stub;
mod stubs;
mod sys;
mod zygote;

pub use answers::Interrupted;
pub use control::Control;
pub use error::{HostError, StartError};
pub use frame::{FrameLayout, REGISTER_COUNT, RIP, Reason, blank, is_machine_address};
pub use layout::{AREA_END, OPS_MAX, SLOTS, STUB_BASE, Slot, USER_END};
pub use notify::{Answered, Call, CallId};
pub use op::{Cause, Op, Rights};
pub use stub::Entries;
pub use stubs::{Event, Stubs, fork_ops, thread_ops};
pub use sys::{LARGE, cpu_time, kill, make_large, map_shared, memfd, random, tgkill};
pub use zygote::KICK;
