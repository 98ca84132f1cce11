//! Where a machine's sockets come from.

use std::sync::Arc;

use foliant_kernel::fs::FileRef;
use foliant_kernel::socket::{SocketFactory, SocketKind};
use foliant_platform::Mmu;
use foliant_units::Errno;

use super::file::HostSocket;
use super::raw;
use crate::hostfs::fs::HostFs;

/// Makes sockets of the host.
pub struct HostSockets<M: Mmu> {
    fs: Arc<HostFs<M>>,
}

impl<M: Mmu> HostSockets<M> {
    /// Sockets of the host that `fs` belongs to.
    pub fn new(fs: Arc<HostFs<M>>) -> Self {
        Self { fs }
    }
}

impl<M: Mmu> SocketFactory<M> for HostSockets<M> {
    fn socket(&self, kind: SocketKind) -> Result<FileRef<M>, Errno> {
        let fd = raw::socket(kind.family, kind.kind, kind.protocol)?;
        Ok(Arc::new(HostSocket::new(&*self.fs, fd)))
    }

    fn pair(&self, kind: SocketKind) -> Result<(FileRef<M>, FileRef<M>), Errno> {
        let (one, other) = raw::pair(kind.family, kind.kind, kind.protocol)?;
        Ok((
            Arc::new(HostSocket::new(&*self.fs, one)),
            Arc::new(HostSocket::new(&*self.fs, other)),
        ))
    }
}
