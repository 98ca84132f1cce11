//! Arguments, sub-commands, and statuses.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{boot, gdt, layout, ps, pt, run, walk};

/// What the command itself fails with, as `env` and its relatives do: below
/// are the program's own statuses, above are 126 and 127 of shells.
pub(crate) const OWN_FAILURE: u8 = 125;

/// Status of a run after which the machine's frames do not add up: a bug of
/// Foliant, whatever the program did.
pub(crate) const UNACCOUNTED: u8 = 123;

/// Linux's memory manager, to run programs on.
#[derive(Parser)]
#[command(name = "foliant", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Layout(layout::Args),
    /// Explain how a memory image's tables translate an address, level by level,
    /// or where a page of a process of this host is (--live).
    Walk(walk::Args),
    /// List everything that tables in a memory image, or a process of this host, map.
    Pt(pt::Args),
    /// List the processes of a memory image or of this host.
    Ps(ps::Args),
    /// Decode the segment descriptors of a processor.
    Gdt(gdt::Args),
    Boot(boot::Args),
}

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    if let Err(why) = foliant_user::look_at_stack() {
        eprintln!("foliant: {why}");
        return ExitCode::from(OWN_FAILURE);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) => {
            // Help and version come this way too; a closed pipe is nobody's error.
            let _printed = why.print();
            return if why.use_stderr() {
                ExitCode::from(OWN_FAILURE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Layout(args) => layout::run(&args),
        Command::Walk(args) => said(walk::run(&args)),
        Command::Pt(args) => said(pt::run(&args)),
        Command::Ps(args) => said(ps::run(&args)),
        Command::Gdt(args) => said(gdt::run(&args)),
        Command::Boot(args) => boot::run(&args),
    }
}

/// Reads arguments as the command does, its own name first, and does nothing.
///
/// # Errors
/// What would be printed.
pub fn check_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let read = Cli::try_parse_from(arguments);
    read.map(drop).map_err(|why| why.to_string())
}

/// What a command that looks came to; errors are one line.
fn said(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|why| {
        // Whoever reads `foliant pt | head` has seen enough.
        let pipe = why.downcast_ref::<io::Error>().map(io::Error::kind);
        if pipe == Some(io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("foliant: {why:#}");
        ExitCode::from(OWN_FAILURE)
    })
}
