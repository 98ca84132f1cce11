//! The address space of programs.

pub use foliant_mm::Space;
