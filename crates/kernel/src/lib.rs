//! What memory needs to be used by programs: tasks, signals, ELF images,
//! futexes, files and system calls, as Linux 6.18 on x86-64 offers them.
//!
//! A machine implements [`UserMachine`] and calls
//! [`Kernel::handle`] with every trap of a task, on any of its threads. The
//! handler blocks in straight-line code ([`park`]), and its answer says
//! whether the task goes on. Everything a machine runs hangs on one [`Kernel`]
//! value; nothing here is global.
//!
//! Locks, outermost first: [`Tree`](pid::Tree) (who is whose child), a
//! process's signal lock, a task's small spin locks. None is held while a
//! task sleeps or while user memory is touched.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "testing"))]
extern crate std;

mod clone;
mod compact_ahead;
mod compactor;
mod creds;
pub mod dev;
mod entry;
pub mod epoll;
pub mod eventfd;
pub mod exec;
mod exit;
mod fault;
pub mod fd;
pub mod fs;
mod futex;
pub mod inotify;
mod kernel;
mod limits;
mod machine;
mod observe;
mod oom;
pub mod park;
pub mod pid;
pub mod pidfd;
pub mod pipe;
mod process;
pub mod procfs;
mod sched;
pub mod shm;
pub mod signal;
pub mod signalfd;
pub mod socket;
mod space;
pub mod syscall;
pub mod sysfs;
mod task;
mod terminal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod timer;
pub mod timerfd;
pub mod tmpfs;
mod user;
mod vdso;
mod wait;

pub use creds::{Capabilities, Capability, Credentials, Ids};
pub use kernel::{Hardware, Identity, Kernel, MemoryTotals, Settings};
pub use limits::Limits;
pub use machine::{
    CpuTimes, Next, OomReport, Origin, ProgramEvent, Start, Trap, UserCpu, UserMachine, UserRegs, XFormat,
};
pub use observe::{CallResult, Observer};
pub use process::Process;
pub use sched::Sched;
pub use space::Space;
pub use task::Task;
pub use vdso::ClockSample;
pub use wait::{Ended, Usage, WaitStatus};
