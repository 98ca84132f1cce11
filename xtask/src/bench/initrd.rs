//! An initial RAM disk for User-Mode Linux.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cpio::Archive;

/// Runs mmops as an ordinary process, not as process 1, and stops the machine.
const INIT: &str = "#!/bin/busybox sh\n/mmops\n/bin/busybox poweroff -f\n";

/// Writes an archive that holds busybox, mmops and an init script that runs it.
pub(super) fn write(archive: &Path, busybox: &Path, mmops: &Path) -> Result<()> {
    let busybox = std::fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mmops = std::fs::read(mmops)?;
    let mut entries = Archive::default();
    entries.folder("dev")?;
    entries.console()?;
    entries.folder("bin")?;
    entries.program("bin/busybox", &busybox)?;
    entries.program("mmops", &mmops)?;
    entries.program("init", INIT.as_bytes())?;
    std::fs::write(archive, entries.finish()?).with_context(|| format!("cannot write {}", archive.display()))
}
