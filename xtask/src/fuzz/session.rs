//! Fuzzing for some time, and what came of it.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::engine::{Engine, Target};

/// Fuzzes each target for `seconds` with `jobs` processes.
pub(super) fn run(engine: &Engine, targets: &[Target], seconds: u64, jobs: usize) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for (nth, target) in targets.iter().enumerate() {
        println!(
            "== {} of {}: {} ({})",
            nth + 1,
            targets.len(),
            target.name,
            target.what
        );
        if !fuzz(engine, target, seconds, jobs)? {
            failed.push(target.name.as_str());
        }
    }
    if failed.is_empty() {
        println!("{} targets, nothing found", targets.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "found something: {}; the inputs are in target/fuzz/found",
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// The grown corpus stays in `target/fuzz/corpus`, and is gone on with.
fn fuzz(engine: &Engine, target: &Target, seconds: u64, jobs: usize) -> Result<bool> {
    let grown = engine.root.join("target/fuzz/corpus").join(&target.name);
    let found = engine.root.join("target/fuzz/found").join(&target.name);
    for folder in [&grown, &found] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = engine.command(target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .env("RUST_BACKTRACE", "1");
    if jobs > 1 {
        command.arg(format!("-fork={jobs}"));
    }
    command.arg(&grown).arg(engine.kept(target));
    let status = command
        .status()
        .with_context(|| engine.program.display().to_string())?;
    if !status.success() {
        show(&found, target)?;
    }
    Ok(status.success())
}

fn show(found: &Path, target: &Target) -> Result<()> {
    for entry in fs::read_dir(found)? {
        let path = entry?.path();
        println!("{}", path.display());
    }
    println!(
        "again: target/fuzz/*/release/foliant-fuzz --target={} FILE",
        target.name
    );
    Ok(())
}
