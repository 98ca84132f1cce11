//! What the fuzzers run: one function from bytes to nothing for everything
//! that reads what others wrote.
//!
//! A target panics if its subject is wrong; an error is as good an answer as
//! a result. [`TARGETS`] names them all. They are ordinary functions, so the
//! kept corpus is replayed by an ordinary test; the fuzzer itself, which wants
//! a C++ compiler, is `fuzz/engine`, and `cargo xtask fuzz` builds and runs it.

mod arguments;
mod boot;
mod guest;
mod image;
mod input;
mod linux;
mod machine;
mod maps;
mod program;
mod tables;
mod target;
mod texts;

pub use target::{TARGETS, Target};
