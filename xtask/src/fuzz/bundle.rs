//! Program, corpus and a script in one folder, for machines without a compiler.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::engine::{Engine, LIMITS};

/// The script's text up to the targets.
const SCRIPT: &str = "\
#!/usr/bin/env bash
# Fuzzes one target, or all at the same time: ./fuzz TARGET|all SECONDS [JOBS].
# Inputs that break it come to found/TARGET, the grown corpus to grown/TARGET,
# from where another run goes on.
set -u
cd \"$(dirname \"${BASH_SOURCE[0]}\")\" || exit 1
name=${1:?a target} seconds=${2:?seconds} jobs=${3:-1}
if [ \"$name\" = all ]; then
    for each in corpus/*; do
        ./fuzz \"${each#corpus/}\" \"$seconds\" \"$jobs\" >\"log.${each#corpus/}\" 2>&1 &
    done
    wait
    for each in corpus/*; do
        name=${each#corpus/}
        echo \"$name: $(grep -a '^#' \"log.$name\" | tail -1); found: $(ls \"found/$name\" | wc -l)\"
    done
    exit 0
fi
mkdir -p \"grown/$name\" \"found/$name\"
";

/// Makes the folder.
pub(super) fn make(engine: &Engine) -> Result<ExitCode> {
    let folder = engine.root.join("target/fuzz/bundle");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let program = folder.join("foliant-fuzz");
    fs::copy(&engine.program, &program)?;
    let stripped = Command::new("strip").arg(&program).status();
    if !stripped.context("strip")?.success() {
        bail!("strip failed");
    }
    let mut script = SCRIPT.to_owned();
    script += "case $name in\n";
    for target in engine.targets()? {
        script += &format!("{}) len={} ;;\n", target.name, target.longest);
        copy(&engine.kept(&target), &folder.join("corpus").join(&target.name))?;
    }
    script += "*) echo \"no target $name\"; exit 2 ;;\nesac\n";
    script += &format!(
        "exec ./foliant-fuzz --target=\"$name\" -max_len=\"$len\" {} -max_total_time=\"$seconds\" \\\n\
         \x20   -fork=\"$jobs\" -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 \\\n\
         \x20   -artifact_prefix=\"found/$name/\" \"grown/$name\" \"corpus/$name\"\n",
        LIMITS.join(" ")
    );
    let file = folder.join("fuzz");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
