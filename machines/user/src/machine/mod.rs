//! The machine: what the library and the kernel layer ask of the host.

mod backing;
mod clock;
mod cpu;
mod errands;
mod events;
mod fill;
mod guard;
mod lane;
mod launch;
mod pool;
mod reaper;
mod registry;
mod sleeper;
mod space;
mod tlb;
mod trap;
mod user;
mod watch;

pub use cpu::Cpu;
pub use events::MachineEvent;
pub use launch::UserThread;
pub use space::Context;
pub use user::{Counters, User};
