//! The vDSO: code and data that every program finds mapped, with which it
//! reads the time without a system call.
//!
//! ```text
//! [vvar]         four pages, the first of which says what time it is
//! [vvar_vclock]  two pages, empty
//! [vdso]         two pages: an ELF image with the code
//! ```
//!
//! As in Linux 6.18 they lie side by side where `mmap` would put them after
//! the interpreter. Not there: `__vdso_getrandom`; C libraries make the call
//! instead.

mod areas;
mod code;
mod elf;
mod line;
mod page;

pub(crate) use areas::Vdso;
pub use line::ClockSample;
