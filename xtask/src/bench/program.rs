//! Benchmarks that are one program of `foliant-bench`: `cargo xtask bench kvirt`
//! and `images`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::tree;

/// An image, and a Python with volatility3 to compare with.
#[derive(Clone, Copy, Default)]
pub(super) struct Material<'a> {
    pub(super) image: Option<&'a Path>,
    pub(super) volatility: Option<&'a Path>,
}

/// Builds the benchmark `name` and runs it, on an image if it wants one.
pub(super) fn run(name: &str, material: Material<'_>, gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args(["run", "--release", "--package", "foliant-bench", "--bin", name])
        .arg("--target-dir")
        .arg(tree::target()?.join("bench/build"))
        .current_dir(&root);
    cargo.arg("--");
    cargo.args(material.image);
    if let Some(python) = material.volatility {
        cargo.arg("--volatility").arg(python);
    }
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
