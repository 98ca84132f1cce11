//! The name of a mapped file.

use alloc::string::String;
use core::fmt;

use foliant_mm::FileLabel;
use foliant_platform::Mmu;
use foliant_uapi::stat::{major, minor};
use foliant_units::Errno;

use super::file::FileRef;

/// How `/proc/PID/maps` names a file that was mapped.
pub struct Label<M: Mmu> {
    file: FileRef<M>,
    dev: u64,
    ino: u64,
}

impl<M: Mmu> Label<M> {
    /// The label of `file`, which it keeps open.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn new(file: &FileRef<M>) -> Result<Self, Errno> {
        let stat = file.stat()?;
        Ok(Self {
            file: file.clone(),
            dev: stat.dev,
            ino: stat.ino,
        })
    }

    /// The file.
    pub fn file(&self) -> &FileRef<M> {
        &self.file
    }
}

impl<M: Mmu> FileLabel for Label<M> {
    fn device(&self) -> (u32, u32) {
        (major(self.dev), minor(self.dev))
    }

    fn inode(&self) -> u64 {
        self.ino
    }

    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.file.link()))
    }
}
