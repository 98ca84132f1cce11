//! Tables as people read them: what each entry says, everything that is
//! mapped, merged, and Linux's own text.

mod describe;
mod mapping;
mod ptdump;
mod tables;
mod walked;

pub use describe::{Can, Describe};
pub use mapping::{ListError, Mapping};
pub use tables::Tables;
pub use walked::{WalkEnd, WalkStep, Walked, kernel_begins};
