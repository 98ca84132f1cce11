//! Tables as people read them: what each entry says, everything that is
//! mapped, merged, and Linux's own text.

mod describe;
mod headings;
mod mapping;
mod ptdump;
mod tables;
mod walked;
mod wx;

pub use describe::{Can, Describe};
pub use headings::{ArmParts, Headings, I386Parts, X86_64Parts};
pub use mapping::{ListError, Mapping};
pub use tables::Tables;
pub use walked::{WalkEnd, WalkStep, Walked, kernel_begins};
pub use wx::WxCheck;
