//! Directories while they are open and listed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::buffer::Sink;
use super::file::{File, Positioning};
use super::kind::{Entry, FileType, put_entry};
use super::node::{Caller, Node, NodeRef};
use super::splices::Splices;
use super::stat::FileStat;

/// A directory that knows its own names.
pub trait Listed<M: Mmu>: Node<M> {
    /// Whether `fsync` means something: there is a file system that could
    /// forget.
    const SYNCS: bool;

    /// The inode number that `.` has.
    fn number(&self) -> u64;

    /// All names but `.` and `..`, in the order in which they are listed.
    ///
    /// # Errors
    /// `NOENT` if what it lists is gone.
    fn names(&self, caller: Caller) -> Result<Vec<Entry>, Errno>;
}

/// A directory that is listed, as it was when its first names were read.
pub struct OpenDirectory<D> {
    node: Arc<D>,
    caller: Caller,
    entries: Mutex<Vec<Entry>>,
}

impl<D> OpenDirectory<D> {
    /// `node` as opened by `caller`.
    pub fn new(node: Arc<D>, caller: Caller) -> Arc<Self> {
        Arc::new(Self {
            node,
            caller,
            entries: Mutex::new(Vec::new()),
        })
    }
}

impl<M: Mmu, D: Listed<M> + 'static> File<M> for OpenDirectory<D> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, _: u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::ISDIR)
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.node.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn sync(&self, _: bool) -> Result<(), Errno> {
        if D::SYNCS { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn entries(&self, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        let mut entries = self.entries.lock();
        if position == 0 {
            *entries = self.node.names(self.caller)?;
        }
        list(&entries, self.node.number(), position, room)
    }
}

/// Entries from `position` on, `.` and `..` before them.
///
/// # Errors
/// `INVAL` if not one fits into `room`.
fn list(entries: &[Entry], own: u64, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
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
