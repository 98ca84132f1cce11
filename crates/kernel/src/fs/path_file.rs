//! What `O_PATH` opens.

use core::any::Any;

use super::stat::FileStat;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::buffer::{Sink, Source};
use super::file::File;
use super::node::NodeRef;

/// A descriptor that stands for a place and cannot be read or written.
pub struct PathFile<M: Mmu> {
    node: NodeRef<M>,
}

impl<M: Mmu> PathFile<M> {
    /// A descriptor for `node`.
    pub fn new(node: NodeRef<M>) -> Self {
        Self { node }
    }
}

impl<M: Mmu> File<M> for PathFile<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.node.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn read(&self, _: u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::BADF)
    }

    fn write(&self, _: u64, _: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        Err(Errno::BADF)
    }
}
