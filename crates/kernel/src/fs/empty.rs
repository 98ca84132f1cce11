//! A directory without names.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::file::FileRef;
use super::kind::FileType;
use super::node::{Caller, Node, NodeRef, OpenHow};
use super::stat::{FileStat, magic, pseudo_statfs};

/// The tree of a machine that was given none.
#[derive(Debug)]
pub struct EmptyDirectory;

impl<M: Mmu> Node<M> for EmptyDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(FileStat {
            ino: 1,
            nlink: 2,
            mode: Mode(Mode::DIRECTORY | 0o555),
            ..FileStat::default()
        })
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(b"/".to_vec())
    }

    fn open(&self, _: OpenHow) -> Result<FileRef<M>, Errno> {
        Err(Errno::ACCES)
    }

    fn lookup(&self, _: &[u8], _: Caller) -> Result<NodeRef<M>, Errno> {
        Err(Errno::NOENT)
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        Ok(Arc::new(EmptyDirectory))
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(magic::TMPFS))
    }
}
