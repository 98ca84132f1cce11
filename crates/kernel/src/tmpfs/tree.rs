//! A mounted tree of files in memory.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{Env, Object};
use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_uapi::stat::Statfs;
use foliant_uapi::time::Timespec;
use foliant_units::{Errno, PAGE_SIZE};

use super::dentry::Dentry;
use super::directory::Names;
use super::inode::{Body, Clock, Inode};
use crate::fs::{NodeRef, magic};
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// The device that `stat` names.
const DEV: u64 = 0x1a;
/// `ST_VALID` and `ST_RELATIME`.
const STATFS_FLAGS: i64 = 0x1020;

/// What all files of a mount share.
///
/// # Locking
/// `changes` is held while names are added, moved and removed, outside of
/// every other lock here; lookups do without it.
pub(super) struct Tree<M: Mmu> {
    pub(super) path: Vec<u8>,
    pub(super) changes: Mutex<()>,
    env: Arc<Env<M>>,
    clock: Clock,
    next: AtomicU64,
    above: Above<M>,
}

/// Finds the directory above the root.
type Above<M> = Arc<dyn Fn() -> Result<NodeRef<M>, Errno> + Send + Sync>;

/// A mounted tree, whose files live no longer than the mount and those who use them.
pub struct Mount<M: Mmu> {
    root: Arc<Dentry<M>>,
}

impl<M: Mmu> Mount<M> {
    /// The root directory.
    pub fn root(&self) -> NodeRef<M> {
        self.root.clone()
    }

    /// Lets go of all files, as unmounting does: at the end of a machine.
    pub fn clear(&self) {
        self.root.clear();
    }
}

/// An empty tree that appears at `path`; everybody may write to its root, and
/// remove only what is theirs. `above` finds the directory that holds it.
pub fn mount<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    path: &[u8],
    owner: (u32, u32),
    above: impl Fn() -> Result<NodeRef<M>, Errno> + Send + Sync + 'static,
) -> Mount<M> {
    let machine = kernel.machine().clone();
    let tree = Arc::new(Tree {
        path: path.to_vec(),
        changes: Mutex::new(()),
        env: kernel.memory().clone(),
        clock: Arc::new(move || Timespec::from_nanos(machine.realtime().0)),
        next: AtomicU64::new(1),
        above: Arc::new(above),
    });
    let inode = tree.inode(Body::Directory(Names::default()), 0o1777, owner);
    inode.count_names(2);
    Mount {
        root: Dentry::root(inode, tree),
    }
}

impl<M: Mmu> Tree<M> {
    /// A new inode.
    pub(super) fn inode(&self, body: Body<M>, mode: u32, owner: (u32, u32)) -> Arc<Inode<M>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Inode::new(body, (DEV, number), mode, owner, self.clock.clone())
    }

    /// A new inode for an empty file.
    pub(super) fn file(&self, mode: u32, owner: (u32, u32)) -> Arc<Inode<M>> {
        self.inode(self.empty_file(), mode, owner)
    }

    /// What an empty file holds.
    pub(super) fn empty_file(&self) -> Body<M> {
        Body::File(Object::shmem(&self.env, 0))
    }

    pub(super) fn above(&self) -> Result<NodeRef<M>, Errno> {
        (self.above)()
    }

    /// Room: half of the machine's memory is what Linux gives by default.
    pub(super) fn statfs(&self) -> Statfs {
        let stats = self.env.phys().stats();
        let blocks = stats.total / 2;
        let free = stats.free.min(blocks);
        Statfs {
            kind: magic::TMPFS,
            bsize: PAGE_SIZE as i64,
            blocks,
            bfree: free,
            bavail: free,
            files: blocks,
            ffree: blocks,
            namelen: 255,
            frsize: PAGE_SIZE as i64,
            flags: STATFS_FLAGS,
            ..Statfs::default()
        }
    }
}
