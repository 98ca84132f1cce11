//! The guest's own program, if there is a compiler for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::guests::Guest;
use super::run_it;

/// Compiles it; `None` without a compiler.
pub(super) fn compile(guest: &Guest, sources: &Path, work: &Path) -> Result<Option<PathBuf>> {
    let [compiler, options @ ..] = guest.compiler else {
        return Ok(None);
    };
    if Command::new(compiler).arg("--version").output().is_err() {
        return Ok(None);
    }
    let program = work.join("mmw");
    let mut command = Command::new(compiler);
    command
        .args(options)
        .args(["-O1", "-static", "-nostdlib", "-ffreestanding"])
        .args(["-fno-stack-protector", "-fno-pie", "-no-pie", "-o"])
        .arg(&program)
        .arg(sources.join("mmw.c"));
    run_it(&mut command)?;
    Ok(Some(program))
}
