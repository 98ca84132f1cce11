//! A regular file of the host, with its pages in the machine.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foliant_kernel::fs::{FileStat, Writers};
use foliant_mm::{Env, FileBacking, Object};
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::convert::{errno, retry, stat_fd};
use super::fs::{Identity, guard};
use super::lock::Locks;

/// What tells whether somebody else has changed a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    size: u64,
    mtime: Timespec,
    ctime: Timespec,
}

impl Stamp {
    fn of(stat: &FileStat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }
}

/// A regular file, found again by its identity as long as it is open or cached.
pub(super) struct HostInode<M: Mmu> {
    identity: Identity,
    object: Arc<Object<M>>,
    backing: Arc<HostBacking>,
    stamp: Mutex<Stamp>,
    pub(super) locks: Locks,
    /// Open files.
    files: AtomicUsize,
    /// Open files that may write, or programs that run.
    pub(super) writers: Arc<Writers>,
}

impl<M: Mmu> HostInode<M> {
    pub(super) fn new(env: &Arc<Env<M>>, identity: Identity, stat: &FileStat) -> Arc<Self> {
        let backing = Arc::new(HostBacking::new(stat.size));
        let object = Object::file(env, backing.clone());
        Arc::new(Self {
            identity,
            object,
            backing,
            stamp: Mutex::new(Stamp::of(stat)),
            locks: Locks::default(),
            files: AtomicUsize::new(0),
            writers: Arc::default(),
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn object(&self) -> &Arc<Object<M>> {
        &self.object
    }

    pub(super) fn cached_pages(&self) -> u64 {
        self.object.cached()
    }

    /// Another descriptor was opened: it may be the first that reads or
    /// writes, and what changed since the last time must not be seen old.
    pub(super) fn opened(&self, fd: &Arc<OwnedFd>, flags: OpenFlags, stat: &FileStat) {
        self.files.fetch_add(1, Ordering::AcqRel);
        self.backing.offer(fd, flags);
        self.check(stat);
    }

    /// A file that may write was closed. With the last one, the host's file is
    /// no longer held open for writing, unless a mapping still may change it.
    pub(super) fn writer_closed(&self) {
        let mut writer = guard(&self.backing.writer);
        // Looked at with the lock held: who opens the file is counted first.
        if !self.writers.is_written() && !self.object.has_writable_mapping() {
            let last = writer.take();
            drop(writer);
            drop(last);
        }
    }

    /// A file was closed. With the last one goes what reads the host's, which
    /// thereby is told that it was closed; pages stay, and the next one that
    /// opens the file brings another reader.
    pub(super) fn closed(&self) {
        let mut reader = guard(&self.backing.reader);
        // Who opens the file is counted first, and offers its own afterwards.
        if self.files.fetch_sub(1, Ordering::AcqRel) == 1 {
            let last = reader.take();
            drop(reader);
            drop(last);
        }
    }

    /// Forgets the pages if the host says that the file is another than it was.
    ///
    /// Writes of the machine itself count as well: that the file was changed
    /// by it alone cannot be told.
    pub(super) fn check(&self, stat: &FileStat) {
        let now = Stamp::of(stat);
        let mut stamp = guard(&self.stamp);
        if *stamp != now {
            *stamp = now;
            drop(stamp);
            self.object.invalidate();
        }
    }

    /// Looks at the size again, for a read that reaches the end.
    pub(super) fn grew(&self, fd: &OwnedFd) -> bool {
        match stat_fd(fd) {
            Ok(stat) if stat.size != self.object.size() => {
                self.check(&stat);
                // A change of ours that the stamp knew about already.
                if stat.size != self.object.size() {
                    self.object.invalidate();
                }
                true
            }
            _ => false,
        }
    }

    /// Reads around the cache, after what mappings wrote.
    pub(super) fn read_direct(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let page = 4096;
        self.object
            .write_back(offset / page..(offset + into.len() as u64).div_ceil(page))?;
        self.backing.read_at(offset, into)
    }

    pub(super) fn write_back(&self) -> Result<(), Errno> {
        self.object.write_back(0..u64::MAX)
    }

    /// The last writer is gone, or it wants its data on the disk.
    pub(super) fn sync(&self, metadata: bool) -> Result<(), Errno> {
        self.object.sync(metadata)
    }
}

/// The host's file below the cache: descriptors that could read and write it,
/// without `O_APPEND`.
pub(super) struct HostBacking {
    reader: Mutex<Option<Arc<OwnedFd>>>,
    writer: Mutex<Option<Arc<OwnedFd>>>,
    /// The size when nothing could be asked yet.
    first_size: u64,
}

impl HostBacking {
    fn new(first_size: u64) -> Self {
        Self {
            reader: Mutex::new(None),
            writer: Mutex::new(None),
            first_size,
        }
    }

    fn offer(&self, fd: &Arc<OwnedFd>, flags: OpenFlags) {
        if flags.readable() {
            guard(&self.reader).get_or_insert_with(|| fd.clone());
        }
        if flags.writable() {
            guard(&self.writer).get_or_insert_with(|| fd.clone());
        }
    }

    fn any(&self) -> Option<Arc<OwnedFd>> {
        let reader = guard(&self.reader).clone();
        reader.or_else(|| guard(&self.writer).clone())
    }

    fn writer(&self) -> Result<Arc<OwnedFd>, Errno> {
        guard(&self.writer).clone().ok_or(Errno::BADF)
    }
}

impl FileBacking for HostBacking {
    fn size(&self) -> u64 {
        let stat = self.any().and_then(|fd| stat_fd(&*fd).ok());
        stat.map_or(self.first_size, |stat| stat.size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let fd = guard(&self.reader).clone().ok_or(Errno::BADF)?;
        retry(|| rustix::io::pread(&*fd, &mut *buffer, offset))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = self.writer()?;
        retry(|| rustix::io::pwrite(&*fd, bytes, offset))
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        let fd = self.writer()?;
        retry(|| rustix::fs::ftruncate(&*fd, size))
    }

    fn sync(&self, metadata: bool) -> Result<(), Errno> {
        let Some(fd) = self.writer().ok().or_else(|| self.any()) else {
            return Ok(());
        };
        if metadata {
            retry(|| rustix::fs::fsync(&*fd))
        } else {
            retry(|| rustix::fs::fdatasync(&*fd))
        }
    }

    fn punch(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let mode = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&*self.writer()?, mode, offset, length).map_err(errno)
    }
}
