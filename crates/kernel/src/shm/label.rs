//! The name of an attached segment.

use core::fmt;

use foliant_mm::FileLabel;

/// How `/proc/PID/maps` names it: the key it was made with, and the id.
pub(crate) struct SegmentLabel {
    pub(crate) key: i32,
    pub(crate) id: i32,
}

impl FileLabel for SegmentLabel {
    fn device(&self) -> (u32, u32) {
        (0, 1)
    }

    fn inode(&self) -> u64 {
        self.id as u64
    }

    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "/SYSV{:08x} (deleted)", self.key)
    }
}
