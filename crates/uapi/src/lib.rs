//! Linux's user ABI as data, both ways.
//!
//! Numbers, flags and structures exactly as user space sees them on x86-64
//! Linux 6.18, and the texts of `/proc` as writers (for machines that imitate
//! a kernel) and parsers (for whoever looks at one). Nothing here acts; that
//! is why machine, kernel and inspector can share it.
//!
//! A structure goes to bytes and back through [`IntoBytes`] and [`FromBytes`],
//! without `unsafe`. Flags keep bits that they do not know (`from_bits_retain`),
//! because what to do with those is the reader's decision.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod auxv;
pub mod clone;
pub mod elf;
pub mod futex;
pub mod io;
pub mod mman;
pub mod open;
pub mod pagemap;
pub mod poll;
pub mod prctl;
pub mod resource;
pub mod sched;
pub mod shm;
pub mod signal;
pub mod stat;
mod syscall;
pub mod text;
pub mod time;

pub use mman::{Advice, MapFlags, MapType, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Prot};
pub use signal::{SigInfo, SigSet, Signal};
pub use syscall::Sysno;
pub use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
