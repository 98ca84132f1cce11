//! A task's descriptors and its place in the tree of files.

use core::marker::PhantomData;

use foliant_units::Errno;

use crate::machine::UserMachine;

/// What a task knows of files. Tasks may share either half (`CLONE_FILES`, `CLONE_FS`).
pub struct TaskFiles<M: UserMachine> {
    machine: PhantomData<fn() -> M>,
}

impl<M: UserMachine> TaskFiles<M> {
    /// No descriptors.
    pub fn new() -> Self {
        Self { machine: PhantomData }
    }

    /// Those of a new task.
    ///
    /// # Errors
    /// `NOMEM`, `MFILE`.
    pub fn for_clone(&self, _share_files: bool, _share_fs: bool) -> Result<Self, Errno> {
        Ok(Self::new())
    }

    /// An image is replaced: descriptors are no longer shared, and those
    /// marked so are closed.
    pub fn exec(&self) {}

    /// The task ends: descriptors that nobody shares are closed.
    pub fn exit(&self) {}
}

impl<M: UserMachine> Default for TaskFiles<M> {
    fn default() -> Self {
        Self::new()
    }
}
