//! What a file in memory is, whatever its name.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::mman::Seals;
use foliant_uapi::stat::Mode;
use foliant_uapi::time::Timespec;
use foliant_units::{Errno, PAGE_SIZE};

use super::directory::Names;
use crate::fs::record_locks::RecordLocks;
use crate::fs::{Caller, FileStat, FileType, SetAttr, SetTime, Writers};
use crate::pipe::Fifo;

/// Tells the time of day.
pub(super) type Clock = Arc<dyn Fn() -> Timespec + Send + Sync>;

/// What an inode holds.
pub(super) enum Body<M: Mmu> {
    File(Arc<Object<M>>),
    Directory(Names<M>),
    Link(Vec<u8>),
    Fifo(Fifo),
}

/// A file, directory or link.
///
/// # Linux source concept
/// `struct shmem_inode_info`.
pub(super) struct Inode<M: Mmu> {
    pub(super) body: Body<M>,
    pub(super) dev: u64,
    pub(super) number: u64,
    pub(super) locks: RecordLocks,
    pub(super) writers: Arc<Writers>,
    pub(super) clock: Clock,
    state: SpinLock<State>,
    xattrs: SpinLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

#[derive(Clone, Copy)]
struct State {
    mode: u32,
    owner: (u32, u32),
    names: u64,
    accessed: Timespec,
    modified: Timespec,
    changed: Timespec,
}

impl<M: Mmu> Inode<M> {
    /// An inode without a name.
    pub(super) fn new(
        body: Body<M>,
        (dev, number): (u64, u64),
        mode: u32,
        owner: (u32, u32),
        clock: Clock,
    ) -> Arc<Self> {
        let now = clock();
        let state = State {
            mode,
            owner,
            names: 0,
            accessed: now,
            modified: now,
            changed: now,
        };
        Arc::new(Self {
            body,
            dev,
            number,
            locks: RecordLocks::default(),
            writers: Arc::default(),
            clock,
            state: SpinLock::new(state),
            xattrs: SpinLock::new(BTreeMap::new()),
        })
    }

    pub(super) fn kind(&self) -> FileType {
        match self.body {
            Body::File(_) => FileType::Regular,
            Body::Directory(_) => FileType::Directory,
            Body::Link(_) => FileType::Symlink,
            Body::Fifo(_) => FileType::Fifo,
        }
    }

    /// The pages of a file.
    pub(super) fn object(&self) -> Result<&Arc<Object<M>>, Errno> {
        match &self.body {
            Body::File(object) => Ok(object),
            Body::Directory(_) => Err(Errno::ISDIR),
            Body::Link(_) => Err(Errno::LOOP),
            Body::Fifo(_) => Err(Errno::INVAL),
        }
    }

    /// The names in a directory.
    pub(super) fn names(&self) -> Result<&Names<M>, Errno> {
        match &self.body {
            Body::Directory(names) => Ok(names),
            Body::File(_) | Body::Link(_) | Body::Fifo(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn seals(&self) -> Seals {
        let seals = self.object().ok().and_then(|object| object.seals());
        Seals::from_bits_retain(seals.unwrap_or(0))
    }

    pub(super) fn mode(&self) -> u32 {
        self.state.lock().mode
    }

    pub(super) fn owner(&self) -> (u32, u32) {
        self.state.lock().owner
    }

    /// How many names it has; a directory counts those in its subdirectories.
    pub(super) fn links(&self) -> u64 {
        self.state.lock().names
    }

    /// One name more (`1`) or fewer (`-1`).
    pub(super) fn count_names(&self, change: i64) {
        let now = (self.clock)();
        let mut state = self.state.lock();
        state.names = state.names.saturating_add_signed(change);
        state.changed = now;
    }

    pub(super) fn stat(&self) -> FileStat {
        let state = *self.state.lock();
        let (kind, size, blocks) = match &self.body {
            Body::File(object) => (
                Mode::REGULAR,
                object.size(),
                object.cached() * (PAGE_SIZE as u64 / 512),
            ),
            Body::Directory(names) => (Mode::DIRECTORY, names.size(), 0),
            Body::Link(text) => (Mode::LINK, text.len() as u64, 0),
            Body::Fifo(_) => (Mode::FIFO, 0, 0),
        };
        FileStat {
            dev: self.dev,
            ino: self.number,
            nlink: state.names,
            mode: Mode(kind | state.mode),
            uid: state.owner.0,
            gid: state.owner.1,
            size,
            blksize: PAGE_SIZE as u32,
            blocks,
            atime: state.accessed,
            mtime: state.modified,
            ctime: state.changed,
            ..FileStat::default()
        }
    }

    /// Notes that its contents were changed now.
    pub(super) fn touch(&self) {
        let now = (self.clock)();
        let mut state = self.state.lock();
        (state.modified, state.changed) = (now, now);
    }

    /// Whether `caller` may read (4), write (2) and execute or search (1).
    ///
    /// # Linux source concept
    /// `generic_permission()`.
    pub(super) fn permit(&self, caller: Caller, wanted: u32) -> Result<(), Errno> {
        let state = *self.state.lock();
        let class = if caller.user == state.owner.0 {
            6
        } else if caller.group == state.owner.1 {
            3
        } else {
            0
        };
        let granted = state.mode >> class & 7;
        let overridden = caller.overrides
            && (wanted & 1 == 0 || state.mode & 0o111 != 0 || matches!(self.body, Body::Directory(_)));
        if wanted & !granted == 0 || overridden {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    pub(super) fn resize(&self, size: u64) -> Result<(), Errno> {
        let object = self.object()?;
        let (seals, old) = (self.seals(), object.size());
        let forbidden =
            (size < old && seals.contains(Seals::SHRINK)) || (size > old && seals.contains(Seals::GROW));
        if forbidden {
            return Err(Errno::PERM);
        }
        object.set_size(size)?;
        self.touch();
        Ok(())
    }

    pub(super) fn set(&self, change: SetAttr) -> Result<(), Errno> {
        let now = (self.clock)();
        let mut state = self.state.lock();
        let time = |set: SetTime, old: Timespec| match set {
            SetTime::Keep => old,
            SetTime::Now => now,
            SetTime::To(time) => time,
        };
        match change {
            SetAttr::Mode(mode) => {
                if self.seals().contains(Seals::EXEC) && (mode ^ state.mode) & 0o111 != 0 {
                    return Err(Errno::PERM);
                }
                state.mode = mode & 0o7777;
            }
            SetAttr::Owner(user, group) => {
                state.owner = (user.unwrap_or(state.owner.0), group.unwrap_or(state.owner.1));
            }
            SetAttr::Times(accessed, modified) => {
                state.accessed = time(accessed, state.accessed);
                state.modified = time(modified, state.modified);
            }
            SetAttr::Size(size) => {
                drop(state);
                let _meanwhile = self.writers.write()?;
                return self.resize(size);
            }
        }
        state.changed = now;
        Ok(())
    }

    pub(super) fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        known(name)?;
        self.xattrs.lock().get(name).cloned().ok_or(Errno::NODATA)
    }

    /// All names, each with a zero byte behind it.
    pub(super) fn xattrs(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for name in self.xattrs.lock().keys() {
            all.extend_from_slice(name);
            all.push(0);
        }
        all
    }

    /// Sets one; `flags` 1 it must be new, 2 it must exist.
    pub(super) fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        known(name)?;
        let (name, value) = (name.to_vec(), value.to_vec());
        let mut xattrs = self.xattrs.lock();
        match (xattrs.contains_key(&name), flags) {
            (true, 1) => return Err(Errno::EXIST),
            (false, 2) => return Err(Errno::NODATA),
            _ => {}
        }
        xattrs.insert(name, value);
        Ok(())
    }

    pub(super) fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        known(name)?;
        let old = self.xattrs.lock().remove(name);
        old.map(drop).ok_or(Errno::NODATA)
    }
}

/// tmpfs keeps attributes of these kinds; the others mean something to it that
/// this one does not do.
fn known(name: &[u8]) -> Result<(), Errno> {
    let kinds: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    if kinds.iter().any(|kind| name.starts_with(kind)) {
        Ok(())
    } else {
        Err(Errno::OPNOTSUPP)
    }
}
