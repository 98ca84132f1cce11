//! `cargo xtask bench slab`: what object allocators cost.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use super::built;
use crate::tree;

/// Builds the benchmark and runs it.
pub(super) fn run(gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let target = tree::target()?.join("bench/build");
    // Every peer is built as an embedding kernel would build it.
    let built = Command::new(env!("CARGO"))
        .current_dir(&root)
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args([
            "build",
            "--release",
            "--package",
            "foliant-bench",
            "--bin",
            "slab",
        ])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("cargo")?;
    if !built.success() {
        return Ok(ExitCode::FAILURE);
    }
    built::run(&target.join("release/slab"), None, gate)
}
