//! What a process starts its paths from.

use alloc::sync::Arc;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;

use super::node::NodeRef;

/// Root, working directory and umask; threads share one.
///
/// # Linux source concept
/// `struct fs_struct`.
pub struct FsContext<M: Mmu> {
    inner: SpinLock<Inner<M>>,
}

#[derive(Clone)]
struct Inner<M: Mmu> {
    root: NodeRef<M>,
    cwd: NodeRef<M>,
    umask: u32,
    chrooted: bool,
}

impl<M: Mmu> FsContext<M> {
    /// A process that starts in `cwd`, with the true root.
    pub fn new(root: NodeRef<M>, cwd: NodeRef<M>, umask: u32) -> Arc<Self> {
        let inner = Inner {
            root,
            cwd,
            umask: umask & 0o777,
            chrooted: false,
        };
        Arc::new(Self {
            inner: SpinLock::new(inner),
        })
    }

    /// The copy that a child gets.
    pub fn fork(&self) -> Arc<Self> {
        let inner = self.inner.lock().clone();
        Arc::new(Self {
            inner: SpinLock::new(inner),
        })
    }

    /// Where `/` is.
    pub fn root(&self) -> NodeRef<M> {
        self.inner.lock().root.clone()
    }

    /// Whether `/` is not the machine's own root.
    pub fn is_chrooted(&self) -> bool {
        self.inner.lock().chrooted
    }

    /// The working directory.
    pub fn cwd(&self) -> NodeRef<M> {
        self.inner.lock().cwd.clone()
    }

    /// Changes the working directory, which the caller knows to be one.
    pub fn set_cwd(&self, cwd: NodeRef<M>) {
        let old = core::mem::replace(&mut self.inner.lock().cwd, cwd);
        // The last reference may close a host file: not under the lock.
        drop(old);
    }

    /// Changes the root, which the caller knows to be a directory.
    pub fn set_root(&self, root: NodeRef<M>) {
        let mut inner = self.inner.lock();
        inner.chrooted = true;
        let old = core::mem::replace(&mut inner.root, root);
        drop(inner);
        drop(old);
    }

    /// The permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.inner.lock().umask
    }

    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.inner.lock().umask, umask & 0o777)
    }
}
