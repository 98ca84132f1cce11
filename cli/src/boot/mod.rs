//! `foliant boot`: boots a soft machine and prints what its kernel would.

mod args;
mod look;
mod map_file;
mod memory;
mod plug;
mod steps;

use std::process::ExitCode;

use clap::Parser;

pub(crate) use args::Args;
pub use map_file::{Map, parse as read_map};

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

/// The arguments of `foliant boot` alone.
#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    args: Args,
}

/// Boots as `foliant boot` does with these arguments, from a map in memory,
/// and writes the log.
///
/// # Errors
/// What the command says and prints; the log is as far as the boot came.
pub fn boot(arguments: &[&str], map: &Map, log: &mut String) -> Result<(), anyhow::Error> {
    let alone = Alone::try_parse_from(std::iter::once(&"boot").chain(arguments))?;
    steps::boot_from(&alone.args, map, log)
}
