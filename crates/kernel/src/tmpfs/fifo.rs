//! A pipe with a name that is open.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};

use super::dentry::Dentry;
use crate::fs::{File, FileRef, FileStat, Node, NodeRef, OpenHow, Sink, Source, SpaceHint, UserMemory};
use crate::park::WaitQueue;
use crate::pipe::PipeEnd;

/// An end of a pipe with a name; who asks for its kind finds a pipe.
pub(super) struct TmpFifo<M: Mmu> {
    dentry: Arc<Dentry<M>>,
    end: PipeEnd,
}

impl<M: Mmu> TmpFifo<M> {
    /// The end of the pipe that `dentry` names.
    pub(super) fn new(dentry: Arc<Dentry<M>>, end: PipeEnd) -> Self {
        Self { dentry, end }
    }

    fn end(&self) -> &dyn File<M> {
        &self.end
    }
}

impl<M: Mmu> File<M> for TmpFifo<M> {
    fn as_any(&self) -> &dyn Any {
        &self.end
    }

    fn opened(&self) -> Result<(), Errno> {
        self.end.partner()
    }

    fn read(&self, at: u64, to: &mut dyn Sink, flags: OpenFlags) -> Result<usize, Errno> {
        self.end().read(at, to, flags)
    }

    fn write(&self, at: u64, from: &mut dyn Source, flags: OpenFlags) -> Result<(usize, u64), Errno> {
        let written = self.end().write(at, from, flags)?;
        self.dentry.inode().touch();
        Ok(written)
    }

    fn takes_all(&self) -> bool {
        self.end().takes_all()
    }

    fn ready(&self) -> PollEvents {
        self.end().ready()
    }

    fn queue(&self) -> Option<WaitQueue> {
        self.end().queue()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.dentry.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.dentry.clone())
    }

    fn link(&self) -> Vec<u8> {
        self.dentry.path().unwrap_or_default()
    }

    fn reopen(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        self.dentry.open(how)
    }

    fn allocate(&self, hint: SpaceHint) -> Result<(), Errno> {
        self.end().allocate(hint)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        self.end().ioctl(memory, command, arg)
    }
}
