//! A task's descriptors and its place in the tree of files.

use alloc::sync::Arc;

use foliant_platform::sync::SpinLock;
use foliant_units::Errno;

use super::context::FsContext;
use super::empty::EmptyDirectory;
use super::node::NodeRef;
use crate::fd::FdTable;
use crate::machine::UserMachine;

/// What a task knows of files. Tasks may share either half (`CLONE_FILES`, `CLONE_FS`).
pub struct TaskFiles<M: UserMachine> {
    table: SpinLock<Option<Arc<FdTable<M>>>>,
    context: SpinLock<Arc<FsContext<M>>>,
}

impl<M: UserMachine> TaskFiles<M> {
    /// No descriptors, and a tree that is empty.
    pub fn new() -> Self {
        let root: NodeRef<M> = Arc::new(EmptyDirectory);
        Self::rooted(root.clone(), root)
    }

    /// No descriptors, in the tree at `root`.
    pub fn rooted(root: NodeRef<M>, cwd: NodeRef<M>) -> Self {
        Self {
            table: SpinLock::new(Some(FdTable::new())),
            context: SpinLock::new(FsContext::new(root, cwd, 0o022)),
        }
    }

    /// Those of a new task.
    ///
    /// # Errors
    /// `NOMEM`, `MFILE`.
    pub fn for_clone(&self, share_files: bool, share_fs: bool) -> Result<Self, Errno> {
        let table = self.table();
        let context = self.context();
        Ok(Self {
            table: SpinLock::new(Some(if share_files { table } else { table.fork() })),
            context: SpinLock::new(if share_fs { context } else { context.fork() }),
        })
    }

    /// The descriptors; an empty table once the task has ended.
    pub fn table(&self) -> Arc<FdTable<M>> {
        self.table.lock().clone().unwrap_or_else(FdTable::new)
    }

    /// Root, working directory, umask.
    pub fn context(&self) -> Arc<FsContext<M>> {
        self.context.lock().clone()
    }

    /// Stops sharing descriptors with other tasks (`CLONE_FILES` of `unshare`).
    pub fn unshare_table(&self) {
        let mut slot = self.table.lock();
        if let Some(table) = slot.as_ref().filter(|table| Arc::strong_count(table) > 1) {
            *slot = Some(table.fork());
        }
    }

    /// Stops sharing root and working directory (`CLONE_FS` of `unshare`).
    pub fn unshare_context(&self) {
        let mut slot = self.context.lock();
        let own = slot.fork();
        *slot = own;
    }

    /// An image is replaced: descriptors are no longer shared, and those
    /// marked so are closed.
    pub fn exec(&self) {
        self.unshare_table();
        drop(self.table().take_cloexec());
    }

    /// The task ends: descriptors that nobody shares are closed.
    pub fn exit(&self) {
        let table = self.table.lock().take();
        drop(table);
    }
}

impl<M: UserMachine> Default for TaskFiles<M> {
    fn default() -> Self {
        Self::new()
    }
}
