//! A machine inside a process: RAM is anonymous memory, page tables lie in it
//! in the hardware's format, and each CPU is a thread with a TLB that keeps
//! what it was not told to drop.
//!
//! "Programs" are closures that read, write and execute through a [`Cpu`] that
//! [entered](Cpu::enter) an address space. What a missing shoot-down would do
//! once in a million runs on hardware, this machine does every time, and
//! [`SoftMachine::audit`] names it.
//!
//! Shoot-downs are synchronous: a CPU takes one between two accesses, and
//! [`Mmu::flush`](foliant_platform::Mmu::flush) returns when all have. CPUs
//! that do not run the space now, or only lazily, are not disturbed; they see
//! by its generation that they missed something when they enter it again.

mod audit;
mod context;
mod cpu;
mod forget;
mod machine;
mod memory;
mod mm;
mod ram;
mod running;
mod space;

pub use audit::{StaleKind, Violation};
pub use context::SoftContext;
pub use cpu::Cpu;
pub use forget::Forget;
pub use machine::{FlushStats, SoftConfig, SoftMachine, SoftMachineOf};
pub use running::{AddressSpace, Running, Trap};
