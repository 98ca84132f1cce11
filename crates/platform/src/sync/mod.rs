//! Atomics, cells and locks, in three worlds: `loom` when models are checked,
//! the standard library on hosted machines, spinning on bare metal.

pub mod atomic;
mod cell;
mod sleep;
mod spin;

pub use cell::UnsafeCell;
pub use sleep::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use spin::{SpinGuard, SpinLock, relax};

#[cfg(not(loom))]
pub use alloc::sync::Arc;
#[cfg(loom)]
pub use loom::sync::Arc;
