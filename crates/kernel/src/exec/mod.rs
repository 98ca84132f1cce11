//! Replacing a program by another: ELF images and `#!` scripts.
//!
//! The new space is built whole before the old one is given up, so a failure
//! leaves the caller as it was, except where Linux kills it as well.

mod args;
mod boot;
mod commit;
mod elf;
mod image;
mod load;
mod program;
mod run;
mod script;
mod stack;

pub use boot::{Boot, BootError};
pub use image::Image;

pub(crate) use args::Args;
pub(crate) use run::{Origin, caller, execve, mm_limits};
