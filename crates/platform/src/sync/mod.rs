//! Atomics, cells and locks, in three worlds: `loom` when models are checked,
//! the standard library on hosted machines, spinning on bare metal.

pub mod atomic;
mod cell;
mod cpu_flag;
mod mutant;
mod sleep;
mod spin;

pub use cell::UnsafeCell;
pub use cpu_flag::CpuFlag;
pub use sleep::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use spin::{SpinGuard, SpinLock, relax};

#[cfg(not(loom))]
pub use alloc::sync::Arc;
#[cfg(loom)]
pub use loom::sync::Arc;
