//! The corpus that is kept in the repository: few and small inputs that reach
//! all that was ever reached.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::engine::{Engine, Target};

/// Bytes that the kept inputs of one target may have together.
const MOST: u64 = 64 << 10;

/// Minimises what is kept together with what is new.
pub(super) fn merge(engine: &Engine, target: &Target, grown: &Path) -> Result<()> {
    let kept = engine.kept(target);
    let fresh = engine.root.join("target/fuzz/merged").join(&target.name);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    for folder in [&fresh, &kept] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = engine.command(target);
    command.args(["-merge=1", "-verbosity=0"]).arg(&fresh).arg(&kept);
    let grown = grown.join(&target.name);
    if grown.is_dir() {
        command.arg(grown);
    }
    if !command.status()?.success() {
        bail!("{}: the corpora cannot be merged", target.name);
    }
    let (count, bytes) = replace(&fresh, &kept)?;
    println!("{:<12} {count} inputs, {} KiB", target.name, bytes >> 10);
    Ok(())
}

/// Keeps the smallest of them, as many as there is room for. Inputs whose name
/// says what they once broke are never given up.
fn replace(fresh: &Path, kept: &Path) -> Result<(usize, u64)> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(fresh)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.len(), entry.path()));
    }
    inputs.sort();
    let mut bytes = 0;
    let mut count = 0;
    for entry in fs::read_dir(kept)? {
        let path = entry?.path();
        if is_named(&path) {
            bytes += fs::metadata(&path)?.len();
            count += 1;
        } else {
            fs::remove_file(&path)?;
        }
    }
    for (len, path) in inputs {
        let Some(name) = path.file_name() else { continue };
        if kept.join(name).exists() || bytes + len > MOST {
            continue;
        }
        fs::copy(&path, kept.join(name))?;
        bytes += len;
        count += 1;
    }
    Ok((count, bytes))
}

/// libFuzzer names inputs by 40 hexadecimal digits, people by words.
fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() != 40 || !name.bytes().all(|letter| letter.is_ascii_hexdigit())
}
