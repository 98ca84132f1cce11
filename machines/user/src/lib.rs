//! The `user` machine: runs Linux programs on a Linux host without privileges.
//!
//! RAM is one file that the supervisor maps whole. Each guest address space is
//! a host process that holds nothing but a small stub; each guest thread is a
//! thread of it. All system calls and faults of the guest come to the
//! supervisor, and none reaches the host's kernel by itself ([`host`] has how).
//! The host's mappings of RAM in a guest process are this machine's TLB.
//!
//! [`Session`] is the way in: a machine, a kernel and the host's files, ready
//! for a program.

pub mod host;
pub mod hostfs;
mod machine;
mod run;

pub use machine::{Context, Counters, Cpu, MachineEvent, User, UserThread};
pub use run::{
    Account, Command, FolioSizes, MemoryPlan, Options, Outcome, PlanError, RunError, Session, look_at_stack,
};
