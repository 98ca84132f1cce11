//! A file in memory that is open.

use alloc::sync::Arc;
use alloc::vec;
use core::any::Any;

use alloc::vec::Vec;
use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_uapi::io::Flock;
use foliant_uapi::mman::Seals;
use foliant_uapi::open::{FallocateMode, OpenFlags};
use foliant_units::{Errno, PAGE_SIZE};

use super::dentry::Dentry;
use super::inode::Inode;
use crate::fs::record_locks::Holder;
use crate::fs::{
    File, FileStat, LockOwner, Node, NodeRef, Positioning, Sink, Source, SpaceHint, Writers, Writing,
};

/// Bytes that are copied at once.
const STEP: usize = 64 << 10;

/// An open file in memory.
///
/// # Linux source concept
/// `shmem_file_operations`, and mm/memfd.c for seals.
pub(crate) struct TmpFile<M: Mmu> {
    dentry: Arc<Dentry<M>>,
    _writing: Option<Writing>,
}

impl<M: Mmu> TmpFile<M> {
    /// The file that `dentry` names; its inode holds pages.
    ///
    /// # Errors
    /// `TXTBSY` if it is to be written while it runs.
    pub(super) fn new(dentry: Arc<Dentry<M>>, flags: OpenFlags) -> Result<Arc<Self>, Errno> {
        let writing = flags.writable().then(|| dentry.inode().writers.write());
        Ok(Arc::new(Self {
            _writing: writing.transpose()?,
            dentry,
        }))
    }

    /// A file that was not opened by a name: as long as this is all there is
    /// of it, it may be executed though it can be written.
    pub(super) fn nameless(dentry: Arc<Dentry<M>>) -> Arc<Self> {
        Arc::new(Self {
            dentry,
            _writing: None,
        })
    }

    fn inode(&self) -> &Inode<M> {
        self.dentry.inode()
    }

    /// A number that no other open description has at the same time.
    fn description(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// Writes `bytes` at `at` or at the end, as far as the seals let it grow.
    fn write_some(&self, at: u64, bytes: &[u8], append: bool) -> Result<(u64, usize), Errno> {
        let object = self.inode().object()?;
        if !self.inode().seals().contains(Seals::GROW) {
            return match append {
                true => object.append(bytes),
                false => object.write(at, bytes).map(|count| (at, count)),
            };
        }
        let at = if append { object.size() } else { at };
        let room = object.size().saturating_sub(at).min(bytes.len() as u64) as usize;
        if room == 0 {
            return Err(Errno::PERM);
        }
        object.write(at, &bytes[..room]).map(|count| (at, count))
    }
}

impl<M: Mmu> Drop for TmpFile<M> {
    fn drop(&mut self) {
        let by = self.description();
        let locks = &self.inode().locks;
        locks.release(Holder::Description(by));
        // Unlocking cannot fail.
        let _ = locks.flock(by, None);
    }
}

impl<M: Mmu> File<M> for TmpFile<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn writers(&self) -> Option<&Arc<Writers>> {
        Some(&self.inode().writers)
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let object = self.inode().object()?;
        let mut buffer = vec![0; to.room().min(STEP)];
        let mut total = 0;
        while to.room() > 0 {
            let want = to.room().min(STEP);
            let got = object.read(offset + total as u64, &mut buffer[..want])?;
            match to.put(&buffer[..got]) {
                Ok(put) => total += put,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
            if got < want {
                break;
            }
        }
        Ok(total)
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: OpenFlags) -> Result<(usize, u64), Errno> {
        if self
            .inode()
            .seals()
            .intersects(Seals::WRITE | Seals::FUTURE_WRITE)
        {
            return Err(Errno::PERM);
        }
        let append = flags.contains(OpenFlags::APPEND);
        let mut buffer = vec![0; from.left().min(STEP)];
        let (mut total, mut next) = (0, offset);
        while from.left() > 0 {
            let written = from.take(&mut buffer).and_then(|taken| {
                let done = self.write_some(next, &buffer[..taken], append);
                from.give_back(taken - done.map_or(0, |(_, count)| count));
                done
            });
            match written {
                Ok((at, count)) => {
                    total += count;
                    next = at + count as u64;
                }
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        if total > 0 {
            self.inode().touch();
        }
        Ok((total, next))
    }

    fn seek(&self, _: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
        let object = self.inode().object()?;
        let at = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
        seek_pages(object, at, whence == 3)
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.inode().stat())
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.dentry.clone())
    }

    fn link(&self) -> Vec<u8> {
        self.dentry.path().unwrap_or_default()
    }

    fn object(&self) -> Result<Arc<Object<M>>, Errno> {
        self.inode().object().cloned()
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.inode().resize(size)
    }

    fn allocate(&self, what: SpaceHint) -> Result<(), Errno> {
        let seals = self.inode().seals();
        let object = self.inode().object()?;
        if what.mode.contains(FallocateMode::PUNCH_HOLE) {
            if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
                return Err(Errno::PERM);
            }
            object.punch(what.offset, what.len)?;
            self.inode().touch();
            return Ok(());
        }
        if !(what.mode - FallocateMode::KEEP_SIZE).is_empty() {
            return Err(Errno::OPNOTSUPP);
        }
        let end = what.offset.checked_add(what.len).ok_or(Errno::FBIG)?;
        if seals.contains(Seals::GROW) && end > object.size() {
            return Err(Errno::PERM);
        }
        let keep_size = what.mode.contains(FallocateMode::KEEP_SIZE);
        object.allocate(what.offset, what.len, keep_size)
    }

    fn sync(&self, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn seals(&self) -> Result<Seals, Errno> {
        Ok(self.inode().seals())
    }

    fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        let have = self.inode().seals();
        if have.contains(Seals::SEAL) {
            return Err(Errno::PERM);
        }
        let object = self.inode().object()?;
        if seals.contains(Seals::WRITE) && !have.contains(Seals::WRITE) && object.has_writable_mapping() {
            return Err(Errno::BUSY);
        }
        let mut all = seals;
        // Who may not execute any more shall not get at it by writing either.
        if seals.contains(Seals::EXEC) && self.inode().mode() & 0o111 != 0 {
            all |= Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::FUTURE_WRITE;
        }
        object.add_seals(all.bits())
    }

    fn lock(&self, owner: LockOwner, lock: Flock, test: bool) -> Result<Option<Flock>, Errno> {
        let holder = match owner {
            LockOwner::Process(process) => Holder::Process(process),
            LockOwner::Description => Holder::Description(self.description()),
        };
        self.inode().locks.set(holder, lock, test)
    }

    fn flock(&self, exclusive: Option<bool>) -> Result<(), Errno> {
        self.inode().locks.flock(self.description(), exclusive)
    }

    fn closed_by(&self, process: i32) {
        self.inode().locks.release(Holder::Process(process));
    }
}

/// The first byte of data, or of a hole, from `at` on. Pages without a frame are holes;
/// the end is one, too.
fn seek_pages<M: Mmu>(object: &Object<M>, at: u64, data: bool) -> Result<u64, Errno> {
    let (size, page) = (object.size(), PAGE_SIZE as u64);
    if at >= size {
        return Err(Errno::NXIO);
    }
    let found = (at / page..object.pages()).find(|&index| object.is_cached(index) == data);
    match found {
        Some(index) => Ok((index * page).max(at)),
        None if data => Err(Errno::NXIO),
        None => Ok(size),
    }
}
