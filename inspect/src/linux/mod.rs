//! The kernel inside an image: its own tables, its symbols, its types, its
//! processes, without debug information.

mod btf;
mod error;
mod kallsyms;
mod kernel;
mod parts;
mod process;
mod roots;
mod shape;

pub use btf::Btf;
pub use error::LinuxError;
pub use kallsyms::Symbols;
pub use kernel::Kernel;
pub use process::Process;
pub use roots::user_roots;
