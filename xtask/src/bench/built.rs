//! A benchmark program that was built.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// Runs it, on one CPU if asked; what it ends with is what the chore ends with.
pub(super) fn run(program: &Path, cpu: Option<u32>, gate: bool) -> Result<ExitCode> {
    let mut bench = match cpu {
        Some(cpu) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &cpu.to_string()]).arg(program);
            taskset
        }
        None => Command::new(program),
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
