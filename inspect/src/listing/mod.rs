//! Tables as people read them: what each entry says, everything that is
//! mapped, merged, and Linux's own text.

mod describe;
mod mapping;
mod ptdump;

pub use describe::{Can, Describe};
pub use mapping::{ListError, Mapping, list};
pub use ptdump::ptdump;
