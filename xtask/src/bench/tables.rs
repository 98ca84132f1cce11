//! `cargo xtask bench tables`: what page tables cost.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::built;
use crate::tree;

/// Builds the benchmark and runs it.
pub(super) fn run(cpu: Option<u32>, gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            "foliant-bench",
            "--bin",
            "tables",
        ])
        .current_dir(&root)
        .status()
        .context("cargo")?;
    if !built.success() {
        bail!("the benchmark does not build");
    }
    let program = tree::target()?.join("release/tables");
    built::run(&program, cpu, gate)
}
