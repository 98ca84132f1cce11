//! The node behind a magic link to an open file.

use alloc::vec::Vec;
use core::any::Any;

use super::kind::FileType;
use super::stat::{FileStat, magic, pseudo_statfs};
use foliant_platform::Mmu;
use foliant_uapi::stat::Statfs;
use foliant_units::Errno;

use super::file::FileRef;
use super::node::{Node, OpenHow};

/// What `/proc/PID/fd/N` leads to when the file has no name of its own.
pub struct FileNode<M: Mmu> {
    file: FileRef<M>,
}

impl<M: Mmu> FileNode<M> {
    /// The place of an open file.
    pub fn new(file: FileRef<M>) -> Self {
        Self { file }
    }

    /// The file.
    pub fn file(&self) -> &FileRef<M> {
        &self.file
    }
}

impl<M: Mmu> Node<M> for FileNode<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        self.file
            .stat()
            .map_or(FileType::Unknown, |stat| FileType::of(stat.mode))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.file.stat()
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.file.link())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        self.file.reopen(how)
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(magic::PIPEFS))
    }
}
