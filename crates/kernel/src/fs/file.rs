//! What is open.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::splices::Splices;
use super::stat::FileStat;
use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_uapi::io::Flock;
use foliant_uapi::mman::Seals;
use foliant_uapi::open::{FallocateMode, OpenFlags};
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};

use super::buffer::{Sink, Source, UserMemory};
use super::node::{NodeRef, OpenHow};
use super::writers::Writers;
use crate::inotify::Watches;
use crate::park::WaitQueue;
use crate::socket::Socket;

/// A file that somebody has open.
pub type FileRef<M> = Arc<dyn File<M>>;

/// How a file relates to the position of its open description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Positioning {
    /// There is none: pipes, sockets, terminals. `lseek` and `pread` fail.
    Stream,
    /// The open description counts; [`File::read`] is told where.
    Counted,
    /// As `Counted`, but where the position is kept is the file's affair
    /// ([`File::position`]): a description that is shared with the host.
    Own,
}

/// Whose record lock it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LockOwner {
    /// A process (`F_SETLK`), by its number.
    Process(i32),
    /// The open description (`F_OFD_SETLK`).
    Description,
}

/// Readable as most files mean it.
pub const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
/// Writable as most files mean it.
pub const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

/// What `fallocate(2)` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceHint {
    /// What happens to the range.
    pub mode: FallocateMode,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// An open file. No method blocks; what would wait answers `AGAIN`.
///
/// The defaults are those of an object that can do nothing, with the errors
/// that Linux gives for a missing operation.
///
/// # Linux source concept
/// `struct file_operations`, include/linux/fs.h.
pub trait File<M: Mmu>: Any + Send + Sync {
    /// The concrete file, for callers that know several kinds.
    fn as_any(&self) -> &dyn Any;

    /// How the position works.
    fn positioning(&self) -> Positioning {
        Positioning::Stream
    }

    /// Reads at `offset` (ignored by streams); 0 is the end.
    ///
    /// # Errors
    /// `AGAIN` if there is nothing yet, `FAULT` from the sink, others by kind.
    fn read(&self, _offset: u64, _to: &mut dyn Sink, _flags: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::INVAL)
    }

    /// Writes at `offset` (ignored by streams); with `APPEND` in `flags`, at
    /// the end. Returns the bytes taken and the position after the last.
    ///
    /// # Errors
    /// `AGAIN` if there is no room yet; `PIPE` if nobody will ever read (the
    /// caller raises the signal).
    fn write(&self, _offset: u64, _from: &mut dyn Source, _flags: OpenFlags) -> Result<(usize, u64), Errno> {
        Err(Errno::INVAL)
    }

    /// Who writes the file and who runs it, where it can be executed.
    fn writers(&self) -> Option<&Arc<Writers>> {
        None
    }

    /// Whether opening is over, which may have to wait for somebody else (on
    /// [`queue`](File::queue)).
    ///
    /// # Errors
    /// `AGAIN` if not.
    fn opened(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// The position that the file itself keeps ([`Positioning::Own`]).
    ///
    /// # Errors
    /// `SPIPE` by default.
    fn position(&self) -> Result<u64, Errno> {
        Err(Errno::SPIPE)
    }

    /// Sets what [`position`](File::position) tells.
    ///
    /// # Errors
    /// `SPIPE` by default.
    fn set_position(&self, _to: u64) -> Result<(), Errno> {
        Err(Errno::SPIPE)
    }

    /// Where `SEEK_END` counts from.
    ///
    /// # Errors
    /// Those of [`stat`](File::stat).
    fn seek_end(&self) -> Result<i64, Errno> {
        self.stat().map(|stat| stat.size as i64)
    }

    /// `lseek` with `SEEK_DATA` (3) or `SEEK_HOLE` (4): the file is one piece
    /// of data by default.
    ///
    /// # Errors
    /// `NXIO` at or beyond the end.
    fn seek(&self, _current: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
        let end = self.seek_end()?;
        if offset < 0 || offset >= end {
            return Err(Errno::NXIO);
        }
        Ok(if whence == 3 { offset as u64 } else { end as u64 })
    }

    /// Whether it can be spliced from and to.
    fn splices(&self) -> Splices {
        Splices::all()
    }

    /// What it is ready for now.
    fn ready(&self) -> PollEvents {
        READABLE | WRITABLE
    }

    /// Woken whenever [`ready`](File::ready) may have changed; `None` if it
    /// never does (`epoll_ctl` refuses such a file).
    fn queue(&self) -> Option<WaitQueue> {
        None
    }

    /// What `fstat` tells.
    ///
    /// # Errors
    /// Those of the file system.
    fn stat(&self) -> Result<FileStat, Errno>;

    /// The place in the tree, for `fchmod`, `*at` and the like; `None` for
    /// what has no name (pipes, sockets).
    fn node(&self) -> Option<NodeRef<M>> {
        None
    }

    /// Opens the same thing anew, as `open("/proc/self/fd/N")` does.
    ///
    /// # Errors
    /// `NXIO` for what cannot be opened by name (sockets); others of `open(2)`.
    fn reopen(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        self.node().ok_or(Errno::NXIO)?.open(how)
    }

    /// Whether a blocking write waits until everything is taken.
    fn takes_all(&self) -> bool {
        false
    }

    /// What `/proc/PID/fd/N` points to: a path or a name like `pipe:[7]`.
    fn link(&self) -> Vec<u8> {
        match self.node().map(|node| node.path()) {
            Some(Ok(path)) => path,
            _ => b"anon_inode:[unknown]".to_vec(),
        }
    }

    /// The pages, for mappings.
    ///
    /// # Errors
    /// `NODEV` for what cannot be mapped.
    fn object(&self) -> Result<Arc<Object<M>>, Errno> {
        Err(Errno::NODEV)
    }

    /// The file as a socket.
    fn socket(&self) -> Option<&dyn Socket<M>> {
        None
    }

    /// The file as one that tells of changes to others.
    fn watches(&self) -> Option<&dyn Watches<M>> {
        None
    }

    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Sets the length.
    ///
    /// # Errors
    /// `INVAL` for what has none.
    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    /// `fallocate(2)`.
    ///
    /// # Errors
    /// `NODEV` for what has no storage (`SPIPE` for pipes).
    fn allocate(&self, _what: SpaceHint) -> Result<(), Errno> {
        Err(Errno::NODEV)
    }

    /// Puts written data (and, unless `data_only`, metadata) on the disk.
    ///
    /// # Errors
    /// `INVAL` for what has no disk.
    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    /// Directory entries from `position` on, as `struct linux_dirent64`, as
    /// many as fit into `room`; returns them and the position after the last.
    ///
    /// # Errors
    /// `NOTDIR`; `INVAL` if not one fits.
    fn entries(&self, _position: u64, _room: usize) -> Result<(Vec<u8>, u64), Errno> {
        Err(Errno::NOTDIR)
    }

    /// Device control.
    ///
    /// # Errors
    /// `NOTTY` for an unknown command.
    fn ioctl(&self, _memory: &dyn UserMemory, _command: u32, _arg: VirtAddr) -> Result<u64, Errno> {
        Err(Errno::NOTTY)
    }

    /// Sets, tests (`F_GETLK`) or drops a record lock with absolute bounds; a lock that conflicts
    /// is the answer of a test.
    ///
    /// # Errors
    /// `AGAIN` if another holds a conflicting lock; the file's queue is woken
    /// when that may have changed, or never: the caller asks again from time to time.
    fn lock(&self, _owner: LockOwner, _lock: Flock, _test: bool) -> Result<Option<Flock>, Errno> {
        Err(Errno::INVAL)
    }

    /// `flock(2)`: `Some(true)` exclusive, `Some(false)` shared, `None` unlock.
    ///
    /// # Errors
    /// `AGAIN` if another holds it.
    fn flock(&self, _exclusive: Option<bool>) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    /// A descriptor of `process` for this file was closed: record locks of the
    /// process on it end.
    fn closed_by(&self, _process: i32) {}

    /// Seals, for a memfd.
    ///
    /// # Errors
    /// `INVAL` for anything else.
    fn seals(&self) -> Result<Seals, Errno> {
        Err(Errno::INVAL)
    }

    /// Adds seals.
    ///
    /// # Errors
    /// `PERM` if sealed against it, `BUSY` if a writable mapping exists.
    fn add_seals(&self, _seals: Seals) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    /// Lines of `/proc/PID/fdinfo/N` after the common ones.
    fn fdinfo(&self) -> String {
        String::new()
    }
}
