//! Memory that is a file: `memfd_create(2)`.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::mman::Seals;
use foliant_uapi::open::{FallocateMode, OpenFlags};
use foliant_uapi::stat::{Mode, Statfs};
use foliant_uapi::time::Timespec;
use foliant_units::{Errno, PAGE_SIZE};

use crate::fs::{
    Access, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, SetAttr, Sink, Source,
    SpaceHint, magic, pseudo_statfs,
};
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// Bytes that are copied at once.
const STEP: usize = 64 << 10;

/// A file in memory that no directory knows.
///
/// # Linux source concept
/// An inode of the internal tmpfs mount, mm/shmem.c and mm/memfd.c.
pub struct MemFd<M: Mmu> {
    inode: Arc<Inode<M>>,
}

struct Inode<M: Mmu> {
    object: Arc<Object<M>>,
    name: Vec<u8>,
    number: u64,
    state: SpinLock<State>,
}

#[derive(Clone, Copy)]
struct State {
    mode: u32,
    owner: (u32, u32),
    times: [Timespec; 3],
}

impl<M: UserMachine> MemFd<M> {
    /// An empty file.
    ///
    /// # Errors
    /// Those of adding seals.
    pub fn create(
        kernel: &Arc<Kernel<M>>,
        name: &[u8],
        seals: Seals,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<FileRef<M>, Errno> {
        let object = Object::shmem(kernel.memory(), 0);
        object.add_seals(seals.bits())?;
        let now = Timespec::from_nanos(kernel.machine().realtime().0);
        let state = State {
            mode,
            owner,
            times: [now; 3],
        };
        let number = kernel.files().next_number();
        let inode = Inode {
            object,
            name: name.to_vec(),
            number,
            state: SpinLock::new(state),
        };
        Ok(Arc::new(Self {
            inode: Arc::new(inode),
        }))
    }
}

impl<M: Mmu> Inode<M> {
    fn seals(&self) -> Seals {
        Seals::from_bits_retain(self.object.seals().unwrap_or(0))
    }

    fn stat(&self) -> FileStat {
        let state = *self.state.lock();
        FileStat {
            dev: 1,
            ino: self.number,
            nlink: 0,
            mode: Mode(Mode::REGULAR | state.mode),
            uid: state.owner.0,
            gid: state.owner.1,
            size: self.object.size(),
            blksize: PAGE_SIZE as u32,
            blocks: self.object.cached() * (PAGE_SIZE as u64 / 512),
            atime: state.times[0],
            mtime: state.times[1],
            ctime: state.times[2],
            ..FileStat::default()
        }
    }

    fn link(&self) -> Vec<u8> {
        [b"/memfd:", &self.name[..], b" (deleted)"].concat()
    }

    fn resize(&self, size: u64) -> Result<(), Errno> {
        let (seals, old) = (self.seals(), self.object.size());
        let forbidden =
            (size < old && seals.contains(Seals::SHRINK)) || (size > old && seals.contains(Seals::GROW));
        if forbidden {
            Err(Errno::PERM)
        } else {
            self.object.set_size(size)
        }
    }
}

impl<M: Mmu> File<M> for MemFd<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut buffer = vec![0; to.room().min(STEP)];
        let mut total = 0;
        while to.room() > 0 {
            let want = to.room().min(STEP);
            let got = self
                .inode
                .object
                .read(offset + total as u64, &mut buffer[..want])?;
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
        let seals = self.inode.seals();
        if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Err(Errno::PERM);
        }
        let object = &self.inode.object;
        let start = if flags.contains(OpenFlags::APPEND) {
            object.size()
        } else {
            offset
        };
        let grows = start + from.left() as u64 > object.size();
        if grows && seals.contains(Seals::GROW) && start >= object.size() {
            return Err(Errno::PERM);
        }
        let mut buffer = vec![0; from.left().min(STEP)];
        let mut total = 0;
        while from.left() > 0 {
            let at = start + total as u64;
            let mut most = buffer.len();
            if seals.contains(Seals::GROW) {
                most = most.min(object.size().saturating_sub(at) as usize);
            }
            if most == 0 {
                break;
            }
            let written = from.take(&mut buffer[..most]).and_then(|taken| {
                let count = object.write(at, &buffer[..taken])?;
                from.give_back(taken - count);
                Ok(count)
            });
            match written {
                Ok(count) => total += count,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok((total, start + total as u64))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.inode.stat())
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(Arc::new(MemNode {
            inode: self.inode.clone(),
        }))
    }

    fn object(&self) -> Result<Arc<Object<M>>, Errno> {
        Ok(self.inode.object.clone())
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.inode.resize(size)
    }

    fn allocate(&self, what: SpaceHint) -> Result<(), Errno> {
        let seals = self.inode.seals();
        let object = &self.inode.object;
        if what.mode.contains(FallocateMode::PUNCH_HOLE) {
            if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
                return Err(Errno::PERM);
            }
            return object.punch(what.offset, what.len);
        }
        if !(what.mode - FallocateMode::KEEP_SIZE).is_empty() {
            return Err(Errno::OPNOTSUPP);
        }
        if seals.contains(Seals::GROW) && what.offset + what.len > object.size() {
            return Err(Errno::PERM);
        }
        object.allocate(
            what.offset,
            what.len,
            what.mode.contains(FallocateMode::KEEP_SIZE),
        )
    }

    fn sync(&self, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn seals(&self) -> Result<Seals, Errno> {
        Ok(self.inode.seals())
    }

    fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        let have = self.inode.seals();
        if have.contains(Seals::SEAL) {
            return Err(Errno::PERM);
        }
        if seals.contains(Seals::WRITE)
            && !have.contains(Seals::WRITE)
            && self.inode.object.has_writable_mapping()
        {
            return Err(Errno::BUSY);
        }
        let mut all = seals;
        // Who may not execute any more shall not get at it by writing either.
        if seals.contains(Seals::EXEC) && self.inode.state.lock().mode & 0o111 != 0 {
            all |= Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::FUTURE_WRITE;
        }
        self.inode.object.add_seals(all.bits())
    }
}

/// The file as `/proc/PID/fd/N` and `fchmod` reach it.
struct MemNode<M: Mmu> {
    inode: Arc<Inode<M>>,
}

impl<M: Mmu> Node<M> for MemNode<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.inode.stat())
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.inode.link())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if how.flags.contains(OpenFlags::TRUNC) {
            self.inode.resize(0)?;
        }
        Ok(Arc::new(MemFd {
            inode: self.inode.clone(),
        }))
    }

    fn set(&self, change: SetAttr) -> Result<(), Errno> {
        let mut state = self.inode.state.lock();
        match change {
            SetAttr::Mode(mode) => {
                let exec = 0o111;
                if self.inode.seals().contains(Seals::EXEC) && (mode ^ state.mode) & exec != 0 {
                    return Err(Errno::PERM);
                }
                state.mode = mode & 0o7777;
            }
            SetAttr::Owner(user, group) => {
                state.owner = (user.unwrap_or(state.owner.0), group.unwrap_or(state.owner.1));
            }
            SetAttr::Times(..) => {}
            SetAttr::Size(size) => {
                drop(state);
                return self.inode.resize(size);
            }
        }
        Ok(())
    }

    fn access(&self, what: Access) -> Result<(), Errno> {
        let mode = self.inode.state.lock().mode;
        if what.mode & 1 != 0 && mode & 0o111 == 0 {
            Err(Errno::ACCES)
        } else {
            Ok(())
        }
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(magic::TMPFS))
    }
}
