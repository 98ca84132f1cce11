//! The names in a directory.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_units::Errno;

use super::dentry::Dentry;
use crate::fs::{Caller, Entry, Listed};

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

impl<M: Mmu> Listed<M> for Dentry<M> {
    const SYNCS: bool = true;

    fn number(&self) -> u64 {
        self.inode().number
    }

    fn names(&self, _: Caller) -> Result<Vec<Entry>, Errno> {
        Ok(self.inode().names()?.entries())
    }
}
