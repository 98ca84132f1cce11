//! Benchmarks that are one program of `foliant-bench`: `cargo xtask bench kvirt`
//! and `images`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::tree;

/// Builds the benchmark `name` and runs it, on `image` if it wants one.
pub(super) fn run(name: &str, image: Option<&Path>, gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args(["run", "--release", "--package", "foliant-bench", "--bin", name])
        .arg("--target-dir")
        .arg(root.join("target/bench/build"))
        .current_dir(&root);
    cargo.arg("--");
    cargo.args(image);
    if gate {
        cargo.arg("--gate");
    }
    let status = cargo.status().context("cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
