//! Initial RAM disks: cpio archives in `newc` form.

use std::io::Write;

use anyhow::Result;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a folder; those above it must be there.
    pub(crate) fn folder(&mut self, name: &str) -> Result<()> {
        self.add(name, FOLDER, (0, 0), &[])
    }

    /// Adds the console, which the first process has open.
    pub(crate) fn console(&mut self) -> Result<()> {
        self.add("dev/console", CHARACTER_DEVICE, (5, 1), &[])
    }

    /// Adds an executable file.
    pub(crate) fn program(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        self.add(name, PROGRAM, (0, 0), contents)
    }

    /// The bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    /// A header of thirteen eight-digit numbers, the name, the contents; name
    /// and contents are padded to four bytes.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(contents.len())?;
        let name_size = u32::try_from(name.len() + 1)?;
        let links = if mode == FOLDER { 2 } else { 1 };
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        write!(self.bytes, "070701")?;
        for field in fields {
            write!(self.bytes, "{field:08x}")?;
        }
        write!(self.bytes, "{name}\0")?;
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
