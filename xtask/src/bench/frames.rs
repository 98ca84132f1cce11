//! `cargo xtask bench frames`: what frame allocators cost and how they place.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use super::built;
use crate::tree;

/// Where LLFree lies, if it is not named on the command line.
const LLFREE: &str = "FOLIANT_LLFREE";

/// Builds the benchmark, with LLFree among the peers if it is there, and runs it.
pub(super) fn run(llfree: Option<&Path>, cpu: Option<u32>, gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let target = tree::target()?.join("bench/build");
    let from_environment = std::env::var_os(LLFREE).map(std::path::PathBuf::from);
    let llfree = llfree.map(Path::to_owned).or(from_environment);

    let mut cargo = Command::new(env!("CARGO"));
    // Every peer is built as an embedding kernel would build it.
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args(["build", "--release", "--target-dir"])
        .arg(&target);
    let program = match &llfree {
        Some(path) => {
            let path = path
                .canonicalize()
                .with_context(|| format!("no LLFree in {}", path.display()))?;
            cargo
                .current_dir(root.join("bench/llfree"))
                .arg("--config")
                .arg(format!("patch.crates-io.llfree.path={path:?}"));
            "foliant-bench-llfree"
        }
        None => {
            println!("LLFree is left out: name the folder of its crate with --llfree or {LLFREE}");
            cargo
                .current_dir(&root)
                .args(["--package", "foliant-bench", "--bin", "frames"]);
            "frames"
        }
    };
    if !cargo.status().context("cargo")?.success() {
        return Ok(ExitCode::FAILURE);
    }

    let program = target.join("release").join(program);
    built::run(&program, cpu, gate)
}
