//! Directories that the machine makes up.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::Place;
use crate::fs::{
    Caller, Entry, FileRef, FileStat, FileType, Listed, Node, NodeRef, OpenDirectory, OpenHow, pseudo_statfs,
};

/// The names in a directory.
pub trait Listing<M: Mmu>: Send + Sync {
    /// What `name` stands for; `place` is the directory's.
    ///
    /// # Errors
    /// `NOENT`.
    fn find(&self, place: &Place, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno>;

    /// All names but `.` and `..`.
    ///
    /// # Errors
    /// `NOENT` if what it lists is gone.
    fn names(&self, place: &Place, caller: Caller) -> Result<Vec<Entry>, Errno>;

    /// The directory above.
    ///
    /// # Errors
    /// Those of looking it up.
    fn parent(&self) -> Result<NodeRef<M>, Errno>;
}

/// A directory as a place in the tree.
pub struct PseudoDirectory<M: Mmu> {
    me: Weak<Self>,
    place: Place,
    listing: Arc<dyn Listing<M>>,
}

impl<M: Mmu> PseudoDirectory<M> {
    /// A directory at `place`.
    pub fn new(place: Place, listing: impl Listing<M> + 'static) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            place,
            listing: Arc::new(listing),
        })
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl<M: Mmu> Node<M> for PseudoDirectory<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.place.stat(Mode::DIRECTORY))
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.place.path.clone())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if how.flags.writable() {
            return Err(Errno::ISDIR);
        }
        let node = self.me.upgrade().ok_or(Errno::NOENT)?;
        Ok(OpenDirectory::new(node, how.caller))
    }

    fn lookup(&self, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        self.listing.find(&self.place, name, caller)
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.listing.parent()
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(self.place.magic))
    }
}

impl<M: Mmu> Listed<M> for PseudoDirectory<M> {
    const SYNCS: bool = false;

    fn number(&self) -> u64 {
        self.place.number()
    }

    fn names(&self, caller: Caller) -> Result<Vec<Entry>, Errno> {
        self.listing.names(&self.place, caller)
    }
}
