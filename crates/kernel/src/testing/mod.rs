//! What tests, here and of those above, need to run programs that are Rust
//! code: a [machine](TestMachine) over RAM on the heap, of which a [`Host`]
//! decides only what user mode and time are, and [`Files`] in memory.

mod files;
mod host;
mod machine;
mod registers;

pub use files::Files;
pub use host::Host;
pub use machine::TestMachine;
pub use registers::Registers;
