//! `cargo xtask bench tables`: what page tables cost.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

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
    let program = root.join("target/release/tables");
    let mut bench = match cpu {
        Some(cpu) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &cpu.to_string()]).arg(&program);
            taskset
        }
        None => Command::new(&program),
    };
    if gate {
        bench.arg("--gate");
    }
    let status = bench
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
