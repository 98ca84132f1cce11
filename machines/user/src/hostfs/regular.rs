//! An open regular file of the host.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use foliant_kernel::fs::{
    File, FileStat, LockOwner, NodeRef, Positioning, Sink, Source, SpaceHint, UserMemory, Writers, Writing,
};
use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_uapi::io::Flock;
use foliant_uapi::open::{FallocateMode, OpenFlags};
use foliant_units::{Errno, VirtAddr};
use rustix::fs::FallocateFlags;

use super::convert::{errno, retry, stat_fd};
use super::fs::HostFs;
use super::inode::HostInode;
use super::lock;
use super::node::HostNode;

/// Bytes that are copied at once.
const STEP: usize = 128 << 10;

/// A regular file, through the machine's page cache.
pub(super) struct HostRegular<M: Mmu> {
    fs: Weak<HostFs<M>>,
    inode: Arc<HostInode<M>>,
    node: Arc<HostNode<M>>,
    fd: Arc<OwnedFd>,
    /// The description is shared with others on the host, who expect its
    /// position to move.
    shared: bool,
    /// It may write.
    writing: Option<Writing>,
    /// Locks of the description end with it, though the cache may keep it.
    locked: AtomicBool,
    large: u64,
    /// Its contents are made by the host when they are read (`/proc`, `/sys`):
    /// nothing of it is cached.
    made: bool,
}

/// Kinds of file systems whose files are made when they are read: proc, sysfs,
/// debugfs, tracefs, securityfs, cgroup, cgroup2, configfs, efivarfs, pstore, bpf.
const MADE: [i64; 11] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x27_e0eb,
    0x6367_7270,
    0x6265_6570,
    0xde5e_81e4,
    0x6165_676c,
    0xcafe_4a11,
];

/// Whether a file that says it is `size` long really has no length. Such files
/// claim nothing or a page.
fn is_made(fd: &OwnedFd, size: u64) -> bool {
    (size == 0 || size == 4096) && rustix::fs::fstatfs(fd).is_ok_and(|fs| MADE.contains(&fs.f_type))
}

impl<M: Mmu> HostRegular<M> {
    /// An open file; `shared` with others on the host, or the machine's alone.
    pub(super) fn new(
        fs: &HostFs<M>,
        inode: Arc<HostInode<M>>,
        (node, fd): (Arc<HostNode<M>>, Arc<OwnedFd>),
        writing: Option<Writing>,
        shared: bool,
    ) -> Self {
        let made = is_made(&fd, inode.object().size());
        Self {
            fs: fs.weak(),
            made,
            inode,
            node,
            fd,
            shared,
            writing,
            locked: AtomicBool::new(false),
            large: fs.large() * 4096,
        }
    }

    fn read_some(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let object = self.inode.object();
        if self.made {
            return retry(|| rustix::io::pread(&*self.fd, &mut *into, offset));
        }
        if object.size() > self.large && !object.is_cached(offset / 4096) {
            return self.inode.read_direct(offset, into);
        }
        object.read(offset, into)
    }

    fn note_lock<R>(&self, lock: impl FnOnce() -> R) -> R {
        self.locked.store(true, Ordering::Release);
        lock()
    }

    fn write_some(&self, offset: u64, bytes: &[u8], append: bool) -> Result<(usize, u64), Errno> {
        let object = self.inode.object();
        if self.made {
            let count = retry(|| rustix::io::pwrite(&*self.fd, bytes, offset))?;
            return Ok((count, offset + count as u64));
        }
        if append {
            // Somebody on the host may have appended meanwhile.
            self.inode.grew(&self.fd);
            return object.append(bytes).map(|(at, count)| (count, at + count as u64));
        }
        object
            .write(offset, bytes)
            .map(|count| (count, offset + count as u64))
    }
}

impl<M: Mmu> Drop for HostRegular<M> {
    fn drop(&mut self) {
        // What mappings wrote is the host's when the file is closed. An error
        // is lost, as that of a close that nobody looks at.
        let _ = self.inode.write_back();
        if let (Some(fs), Ok(stat)) = (self.fs.upgrade(), stat_fd(&*self.fd))
            && stat.nlink == 0
        {
            fs.forget(self.inode.identity());
        }
        if let Some(writing) = self.writing.take() {
            drop(writing);
            self.inode.writer_closed();
        }
        self.inode.closed();
        if self.locked.load(Ordering::Acquire) {
            let all = Flock {
                kind: lock::UNLOCK,
                ..Flock::default()
            };
            let _ = lock::set(&self.fd, &all, false);
            let _ = lock::flock(&self.fd, None);
        }
    }
}

impl<M: Mmu> File<M> for HostRegular<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn writers(&self) -> Option<&Arc<Writers>> {
        Some(&self.inode.writers)
    }

    fn positioning(&self) -> Positioning {
        if self.shared {
            Positioning::Own
        } else {
            Positioning::Counted
        }
    }

    fn position(&self) -> Result<u64, Errno> {
        rustix::fs::tell(&*self.fd).map_err(errno)
    }

    fn set_position(&self, to: u64) -> Result<(), Errno> {
        rustix::fs::seek(&*self.fd, rustix::fs::SeekFrom::Start(to))
            .map(drop)
            .map_err(errno)
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut buffer = vec![0; to.room().min(STEP)];
        let mut total = 0;
        while to.room() > 0 {
            let want = to.room().min(STEP);
            let at = offset + total as u64;
            let mut got = self.read_some(at, &mut buffer[..want])?;
            if got < want && !self.made && self.inode.grew(&self.fd) {
                got += self.read_some(at + got as u64, &mut buffer[got..want])?;
            }
            let put = match to.put(&buffer[..got]) {
                Ok(put) => put,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            };
            total += put;
            if put < want {
                break;
            }
        }
        Ok(total)
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: OpenFlags) -> Result<(usize, u64), Errno> {
        let append = flags.contains(OpenFlags::APPEND);
        let mut buffer = vec![0; from.left().min(STEP)];
        let mut total = 0;
        let mut end = offset;
        while from.left() > 0 {
            let taken = match from.take(&mut buffer) {
                Ok(taken) => taken,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            };
            match self.write_some(end, &buffer[..taken], append) {
                Ok((count, next)) => {
                    total += count;
                    end = next;
                    if count < taken {
                        from.give_back(taken - count);
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        if flags.contains(OpenFlags::DSYNC) {
            self.inode.sync(flags.contains(OpenFlags::SYNC))?;
        }
        Ok((total, end))
    }

    fn seek(&self, _: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
        self.inode.write_back()?;
        let at = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
        let to = match whence {
            3 => rustix::fs::SeekFrom::Data(at),
            _ => rustix::fs::SeekFrom::Hole(at),
        };
        rustix::fs::seek(&*self.fd, to).map_err(errno)
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        stat_fd(&*self.fd)
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn object(&self) -> Result<Arc<Object<M>>, Errno> {
        Ok(self.inode.object().clone())
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.inode.object().set_size(size)
    }

    fn allocate(&self, what: SpaceHint) -> Result<(), Errno> {
        if what.mode == FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE {
            return self.inode.object().punch(what.offset, what.len);
        }
        self.inode.write_back()?;
        let mode = FallocateFlags::from_bits_retain(what.mode.bits());
        retry(|| rustix::fs::fallocate(&*self.fd, mode, what.offset, what.len))?;
        // Ranges may have moved, and the size may be another.
        if what.mode.is_empty() || what.mode == FallocateMode::KEEP_SIZE {
            self.inode.grew(&self.fd);
        } else {
            self.inode.object().invalidate();
        }
        Ok(())
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.inode.sync(!data_only)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        if command == foliant_uapi::io::ioctl::FIONREAD {
            let at = rustix::fs::tell(&*self.fd).unwrap_or(0);
            let left = self.inode.object().size().saturating_sub(at) as i32;
            memory.put(arg, &left.to_le_bytes())?;
            return Ok(0);
        }
        Err(Errno::NOTTY)
    }

    fn lock(&self, owner: LockOwner, range: Flock, test: bool) -> Result<Option<Flock>, Errno> {
        match owner {
            LockOwner::Description => self.note_lock(|| lock::set(&self.fd, &range, test)),
            LockOwner::Process(process) => self.inode.locks.set(process, &self.fd, &range, test),
        }
    }

    fn flock(&self, exclusive: Option<bool>) -> Result<(), Errno> {
        self.note_lock(|| lock::flock(&self.fd, exclusive))
    }

    fn closed_by(&self, process: i32) {
        self.inode.locks.release(process);
    }
}
