//! `cargo xtask bench kvirt`: what the kernel's own virtual memory costs on one
//! CPU and on two.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::tree;

/// Builds the benchmark and runs it.
pub(super) fn run(gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args(["run", "--release", "--package", "foliant-bench", "--bin", "kvirt"])
        .arg("--target-dir")
        .arg(root.join("target/bench/build"))
        .current_dir(&root);
    if gate {
        cargo.args(["--", "--gate"]);
    }
    let status = cargo.status().context("cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
