//! The guest's initial RAM disk.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cpio::Archive;

/// Writes an archive with busybox, the scripts, and the guest's program.
pub(super) fn write(to: &Path, busybox: &Path, program: Option<&Path>, sources: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        archive.folder(folder)?;
    }
    archive.console()?;
    archive.program("bin/busybox", &read(busybox)?)?;
    if let Some(program) = program {
        archive.program("bin/mmw", &read(program)?)?;
    }
    archive.program("init", &read(&sources.join("init.sh"))?)?;
    archive.program("truth.sh", &read(&sources.join("truth.sh"))?)?;
    fs::write(to, archive.finish()?).with_context(|| to.display().to_string())
}
