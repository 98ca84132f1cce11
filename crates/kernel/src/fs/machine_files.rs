//! What all files of a machine share.

use alloc::sync::Arc;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::Errno;

use super::empty::EmptyDirectory;
use super::file::FileRef;
use super::node::NodeRef;
use crate::socket::SocketFactory;

/// The tree of a machine, where its sockets come from, and numbers for files
/// without a name.
pub struct MachineFiles<M: Mmu> {
    root: SpinLock<NodeRef<M>>,
    sockets: SpinLock<Option<Arc<dyn SocketFactory<M>>>>,
    watches: SpinLock<Option<MakeWatches<M>>>,
    sync: SpinLock<Option<SyncAll>>,
    next_number: AtomicU64,
}

/// Makes a file that tells of changes to others.
type MakeWatches<M> = Arc<dyn Fn() -> Result<FileRef<M>, Errno> + Send + Sync>;

/// Puts everything that was written on the disk.
type SyncAll = Arc<dyn Fn() + Send + Sync>;

impl<M: Mmu> Default for MachineFiles<M> {
    fn default() -> Self {
        Self {
            root: SpinLock::new(Arc::new(EmptyDirectory)),
            sockets: SpinLock::new(None),
            watches: SpinLock::new(None),
            sync: SpinLock::new(None),
            // Numbers of pipes look like inode numbers of a system in use.
            next_number: AtomicU64::new(4096),
        }
    }
}

impl<M: Mmu> MachineFiles<M> {
    /// The root of the tree.
    pub fn root(&self) -> NodeRef<M> {
        self.root.lock().clone()
    }

    /// Gives the machine its tree; called before the first program starts.
    pub fn set_root(&self, root: NodeRef<M>) {
        *self.root.lock() = root;
    }

    /// Where sockets come from.
    ///
    /// # Errors
    /// `AFNOSUPPORT` on a machine without any.
    pub fn sockets(&self) -> Result<Arc<dyn SocketFactory<M>>, Errno> {
        self.sockets.lock().clone().ok_or(Errno::AFNOSUPPORT)
    }

    /// Gives the machine its sockets; called before the first program starts.
    pub fn set_sockets(&self, sockets: Arc<dyn SocketFactory<M>>) {
        *self.sockets.lock() = Some(sockets);
    }

    /// A file that tells of changes to others (`inotify_init1(2)`).
    ///
    /// # Errors
    /// `NOSYS` on a machine without any; those of making one.
    pub fn new_watches(&self) -> Result<FileRef<M>, Errno> {
        let make = self.watches.lock().clone().ok_or(Errno::NOSYS)?;
        make()
    }

    /// Says how; called before the first program starts.
    pub fn set_watches(&self, make: impl Fn() -> Result<FileRef<M>, Errno> + Send + Sync + 'static) {
        *self.watches.lock() = Some(Arc::new(make));
    }

    /// Puts everything that was written on the disk (`sync(2)`).
    pub fn sync(&self) {
        let sync = self.sync.lock().clone();
        if let Some(sync) = sync {
            sync();
        }
    }

    /// Says how; called before the first program starts.
    pub fn set_sync(&self, sync: impl Fn() + Send + Sync + 'static) {
        *self.sync.lock() = Some(Arc::new(sync));
    }

    /// An inode number for a file without a name.
    pub fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}
