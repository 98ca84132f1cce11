//! The `foliant` command: one file per sub-command.
//!
//! It is a library so that what it reads from people and from files can be
//! tested apart from the process: [`check_arguments`], [`read_map`], [`boot()`]
//! and [`gdt_table`].

mod boot;
mod command;
mod gdt;
mod layout;
mod output;
mod ps;
mod pt;
mod report;
mod run;
mod size;
mod target;
mod walk;

pub use boot::{Map, boot, read_map};
pub use command::{check_arguments, main};
pub use gdt::gdt_table;

use command::{OWN_FAILURE, UNACCOUNTED};
