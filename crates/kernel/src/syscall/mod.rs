//! System calls: who handles which number, and how often each came.
//!
//! A handler is a function of [`Ctx`] to [`Answer`]. It blocks in
//! straight-line code, and says with [`Fail::Restart`] what becomes of the
//! call if a signal ended its wait. Each module of handlers has a function
//! `handler` that knows its numbers; [`handler`] asks them in turn.

mod answer;
mod clone;
mod counts;
mod ctx;
mod exec;
mod files;
mod futex;
mod groups;
mod ids;
mod kill;
mod limits;
mod map_file;
mod memory;
mod pidfd;
mod prctl;
mod sched;
mod shm;
mod signal;
mod sleep;
mod system;
mod table;
mod timer;
mod wait;

pub use answer::{Answer, Continuation, Fail, Restart};
pub use counts::Counts;
pub use ctx::Ctx;
pub use table::{Handler, handler};
