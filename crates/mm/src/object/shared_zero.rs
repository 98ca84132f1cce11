//! The name of shared anonymous memory.

use core::fmt;

use super::object::ObjectId;
use crate::vma::FileLabel;

/// How `/proc/PID/maps` shows `MAP_SHARED|MAP_ANONYMOUS`: as a deleted file
/// `/dev/zero` of the kernel's own tmpfs.
#[derive(Debug)]
pub(crate) struct SharedZero(ObjectId);

impl SharedZero {
    pub(crate) const fn new(object: ObjectId) -> Self {
        Self(object)
    }
}

impl FileLabel for SharedZero {
    fn device(&self) -> (u32, u32) {
        (0, 1)
    }

    fn inode(&self) -> u64 {
        // Below these lie the inodes that exist from boot.
        1024 + self.0.raw()
    }

    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/dev/zero (deleted)")
    }
}
