//! The names in a directory, and listing them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::dentry::Dentry;
use crate::fs::{Entry, File, FileStat, Node, NodeRef, Positioning, Sink, pseudo};

/// What one name adds to the size of a directory in bytes.
///
/// # Linux source concept
/// `BOGO_DIRENT_SIZE`.
const ENTRY_SIZE: u64 = 20;

/// Names and what they stand for, with the order in which they came.
pub(super) struct Names<M: Mmu> {
    inner: SpinLock<Inner<M>>,
}

struct Inner<M: Mmu> {
    by_name: BTreeMap<Vec<u8>, (u64, Arc<Dentry<M>>)>,
    next: u64,
}

impl<M: Mmu> Default for Names<M> {
    fn default() -> Self {
        let inner = Inner {
            by_name: BTreeMap::new(),
            next: 0,
        };
        Self {
            inner: SpinLock::new(inner),
        }
    }
}

impl<M: Mmu> Names<M> {
    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<Dentry<M>>> {
        self.inner
            .lock()
            .by_name
            .get(name)
            .map(|(_, dentry)| dentry.clone())
    }

    /// Puts `dentry` under `name`; what was there before is returned.
    pub(super) fn put(&self, name: &[u8], dentry: Arc<Dentry<M>>) -> Option<Arc<Dentry<M>>> {
        let name = name.to_vec();
        let mut inner = self.inner.lock();
        inner.next += 1;
        let number = inner.next;
        inner.by_name.insert(name, (number, dentry)).map(|(_, old)| old)
    }

    pub(super) fn take(&self, name: &[u8]) -> Option<Arc<Dentry<M>>> {
        self.inner.lock().by_name.remove(name).map(|(_, dentry)| dentry)
    }

    /// Takes all names away.
    pub(super) fn drain(&self) -> Vec<Arc<Dentry<M>>> {
        let names = core::mem::take(&mut self.inner.lock().by_name);
        names.into_values().map(|(_, dentry)| dentry).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().by_name.is_empty()
    }

    /// What `stat` tells: `.` and `..` count too.
    pub(super) fn size(&self) -> u64 {
        (self.inner.lock().by_name.len() as u64 + 2) * ENTRY_SIZE
    }

    /// All entries, the youngest first.
    fn entries(&self) -> Vec<Entry> {
        let inner = self.inner.lock();
        let mut all: Vec<(u64, Entry)> = inner
            .by_name
            .iter()
            .map(|(name, (number, dentry))| {
                let entry = Entry {
                    ino: dentry.inode().number,
                    kind: dentry.inode().kind(),
                    name: name.clone(),
                };
                (*number, entry)
            })
            .collect();
        drop(inner);
        all.sort_by_key(|&(number, _)| core::cmp::Reverse(number));
        all.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// A directory that is open.
pub(super) struct OpenDirectory<M: Mmu> {
    dentry: Arc<Dentry<M>>,
    entries: Mutex<Vec<Entry>>,
}

impl<M: Mmu> OpenDirectory<M> {
    pub(super) fn new(dentry: Arc<Dentry<M>>) -> Arc<Self> {
        Arc::new(Self {
            dentry,
            entries: Mutex::new(Vec::new()),
        })
    }
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
        self.dentry.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.dentry.clone())
    }

    fn sync(&self, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn entries(&self, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        let inode = self.dentry.inode();
        let mut entries = self.entries.lock();
        if position == 0 {
            *entries = inode.names()?.entries();
        }
        pseudo::list(&entries, inode.number, position, room)
    }
}
