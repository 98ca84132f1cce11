//! What the library asks of the world below it.
//!
//! A machine (hosted or bare metal) implements [`Platform`] and [`Mmu`] and
//! hands itself in; no crate above keeps a global or registers a callback.
//! [`sync`] is the only module of the workspace that names `loom`, so the code
//! that is model-checked is the code that runs.
#![cfg_attr(not(any(feature = "std", loom)), no_std)]

extern crate alloc;

mod mmu;
mod platform;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;

pub use mmu::{FiveLevels, Flush, FlushKind, FourLevels, Levels, Mmu};
pub use platform::{CpuId, Nanos, Platform};
