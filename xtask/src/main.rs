//! Chores of the workspace: `cargo xtask tidy`, `cargo xtask bench`, `cargo xtask fuzz`,
//! `cargo xtask images`, `cargo xtask ci`.

mod bench;
mod cpio;
mod fuzz;
mod images;
mod tidy;
mod tree;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Chores of the Foliant workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Checks what neither rustc nor clippy can: layers, file sizes, dead files, unsafe, words, docs.
    Tidy,
    /// Measures Foliant and its peers in turn and prints the ratios.
    Bench(bench::Args),
    /// Feeds nonsense to everything that reads what others wrote, guided by coverage.
    Fuzz(fuzz::Args),
    /// Makes memory images of real Linux guests under QEMU, with what is true of them.
    Images(images::Args),
    /// Runs all that continuous integration runs.
    Ci,
}

fn main() -> Result<ExitCode> {
    match Cli::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Images(args) => images::run(&args),
        Chore::Ci => {
            let script = tree::root()?.join(".ci/run");
            let status = Command::new("bash").arg(&script).status();
            let status = status.with_context(|| format!("cannot run {}", script.display()))?;
            Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}
