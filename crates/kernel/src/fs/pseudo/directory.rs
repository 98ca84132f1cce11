//! Directories that the machine makes up.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::Place;
use crate::fs::{
    Caller, Entry, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, Sink,
    pseudo_statfs, put_entry,
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
        Ok(Arc::new(OpenDirectory {
            node,
            caller: how.caller,
            entries: Mutex::new(Vec::new()),
        }))
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

/// A directory that is listed, as it was when its first names were read.
struct OpenDirectory<M: Mmu> {
    node: Arc<PseudoDirectory<M>>,
    caller: Caller,
    entries: Mutex<Vec<Entry>>,
}

impl<M: Mmu> File<M> for OpenDirectory<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, _: u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::ISDIR)
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.node.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn entries(&self, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        let mut entries = self.entries.lock();
        if position == 0 {
            *entries = self.node.listing.names(&self.node.place, self.caller)?;
        }
        list(&entries, self.node.place.number(), position, room)
    }
}

/// Entries from `position` on, `.` and `..` before them.
///
/// # Errors
/// `INVAL` if not one fits into `room`.
pub fn list(entries: &[Entry], own: u64, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
    let dots = [(&b"."[..], own), (&b".."[..], own)];
    let dots = dots.map(|(name, ino)| Entry {
        ino,
        kind: FileType::Directory,
        name: name.to_vec(),
    });
    let mut out = Vec::new();
    let mut next = position;
    for entry in dots.iter().chain(entries).skip(position as usize) {
        if !put_entry(&mut out, room, entry, next + 1) {
            break;
        }
        next += 1;
    }
    let left = (entries.len() as u64 + 2).saturating_sub(position) > 0;
    if out.is_empty() && left {
        Err(Errno::INVAL)
    } else {
        Ok((out, next))
    }
}
