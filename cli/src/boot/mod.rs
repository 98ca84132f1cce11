//! `foliant boot`: boots a soft machine and prints what its kernel would.

mod args;
mod map_file;
mod memory;
mod steps;

use std::process::ExitCode;

pub(crate) use args::Args;

use crate::OWN_FAILURE;

/// Boots and prints the log, as far as it came.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut log = String::new();
    let booted = steps::boot(args, &mut log);
    let printed = crate::output::print(&log);
    match booted {
        Ok(()) => printed,
        Err(why) => {
            eprintln!("foliant: {why:#}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}
