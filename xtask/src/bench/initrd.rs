//! An initial RAM disk for User-Mode Linux: a cpio archive in `newc` form.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Runs mmops as an ordinary process, not as process 1, and stops the machine.
const INIT: &str = "#!/bin/busybox sh\n/mmops\n/bin/busybox poweroff -f\n";

/// Writes an archive that holds busybox, mmops and an init script that runs it.
pub(super) fn write(archive: &Path, busybox: &Path, mmops: &Path) -> Result<()> {
    let busybox = std::fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mmops = std::fs::read(mmops)?;
    let mut bytes = Vec::new();
    let mut archive_entry = Entries {
        out: &mut bytes,
        inode: 1,
    };
    archive_entry.add("dev", DIRECTORY, (0, 0), &[])?;
    archive_entry.add("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
    archive_entry.add("bin", DIRECTORY, (0, 0), &[])?;
    archive_entry.add("bin/busybox", PROGRAM, (0, 0), &busybox)?;
    archive_entry.add("mmops", PROGRAM, (0, 0), &mmops)?;
    archive_entry.add("init", PROGRAM, (0, 0), INIT.as_bytes())?;
    archive_entry.add("TRAILER!!!", 0, (0, 0), &[])?;
    std::fs::write(archive, bytes).with_context(|| format!("cannot write {}", archive.display()))
}

struct Entries<'a> {
    out: &'a mut Vec<u8>,
    inode: u32,
}

impl Entries<'_> {
    /// A header of thirteen eight-digit numbers, the name, the contents; name
    /// and contents are padded to four bytes.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        let size = u32::try_from(contents.len())?;
        let name_size = u32::try_from(name.len() + 1)?;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        self.inode += 1;

        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        write!(self.out, "{name}\0")?;
        self.pad();
        self.out.extend_from_slice(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
}
