//! Terminals, pipes and devices of the host.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use foliant_kernel::fs::{
    File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, Sink, Source, UserMemory,
};
use foliant_kernel::park::WaitQueue;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};
use rustix::event::{PollFd, PollFlags};
use rustix::io::ReadWriteFlags;

use super::convert::{errno, proc_path, stat_fd};
use super::fs::HostFs;
use super::node::HostNode;
use super::poller::Watch;
use super::terminal;

/// How it is made sure that the host never makes the supervisor wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// The description is the machine's own, with `O_NONBLOCK`.
    Nonblocking,
    /// Others use the description too: its flags must stay, so it is asked
    /// each time before it is used.
    Shared,
}

/// Bytes that are moved at once.
const STEP: usize = 64 << 10;
/// Bytes that a pipe which is ready for writing takes without waiting.
const PIPE_BUF: usize = 4096;

/// Something of the host that is read and written in a stream.
pub(super) struct HostStream<M: Mmu> {
    fd: Arc<OwnedFd>,
    node: Option<Arc<HostNode<M>>>,
    waits: Waits,
    kind: FileType,
    terminal: bool,
    watched: Watched,
}

/// The queue of a descriptor, watched once somebody wants it.
pub(super) struct Watched {
    queue: WaitQueue,
    watch: OnceLock<Option<Watch>>,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            queue: WaitQueue::new(),
            watch: OnceLock::new(),
        }
    }

    /// The queue, or `None` if the descriptor is always ready.
    pub(super) fn queue(&self, watch: impl FnOnce(&WaitQueue) -> Result<Watch, Errno>) -> Option<WaitQueue> {
        let watch = self.watch.get_or_init(|| watch(&self.queue).ok());
        watch.as_ref().map(|_| self.queue.clone())
    }
}

/// What the host says a descriptor is ready for.
pub(super) fn poll(fd: &OwnedFd) -> PollEvents {
    let wanted = PollFlags::from_bits_retain(
        (PollEvents::IN
            | PollEvents::PRI
            | PollEvents::OUT
            | PollEvents::RDNORM
            | PollEvents::RDBAND
            | PollEvents::WRNORM
            | PollEvents::WRBAND
            | PollEvents::RDHUP)
            .bits() as u16,
    );
    let mut fds = [PollFd::new(fd, wanted)];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(_) => PollEvents::from_bits_retain(u32::from(fds[0].revents().bits())),
        Err(_) => PollEvents::empty(),
    }
}

impl<M: Mmu> HostStream<M> {
    pub(super) fn new(
        fs: &HostFs<M>,
        node: Option<Arc<HostNode<M>>>,
        fd: Arc<OwnedFd>,
        waits: Waits,
    ) -> Self {
        let kind = node
            .as_ref()
            .map_or(FileType::Unknown, |node| Node::<M>::kind(&**node));
        let terminal = kind == FileType::Character && rustix::termios::isatty(&*fd);
        let (fd, waits) = match waits {
            Waits::Shared if kind != FileType::Socket => own_description(fd, kind, terminal),
            waits => (fd, waits),
        };
        let stream = Self {
            fd,
            node,
            waits,
            kind,
            terminal,
            watched: Watched::new(),
        };
        // Watched from the start: a queue that is asked for may not wait for the poller.
        stream.watched.queue(|queue| fs.poller.watch(&stream.fd, queue));
        stream
    }

    fn read_once(&self, into: &mut [u8]) -> Result<usize, Errno> {
        if self.waits == Waits::Nonblocking {
            return rustix::io::retry_on_intr(|| rustix::io::read(&*self.fd, &mut *into)).map_err(errno);
        }
        let mut buffers = [std::io::IoSliceMut::new(into)];
        match rustix::io::preadv2(&*self.fd, &mut buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => {}
            other => return other.map_err(errno),
        }
        if !poll(&self.fd).intersects(PollEvents::IN | PollEvents::HUP | PollEvents::ERR) {
            return Err(Errno::AGAIN);
        }
        rustix::io::read(&*self.fd, into).map_err(errno)
    }

    fn write_once(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.waits == Waits::Nonblocking {
            return rustix::io::retry_on_intr(|| rustix::io::write(&*self.fd, bytes)).map_err(errno);
        }
        let buffers = [std::io::IoSlice::new(bytes)];
        match rustix::io::pwritev2(&*self.fd, &buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => {}
            other => return other.map_err(errno),
        }
        if !poll(&self.fd).intersects(PollEvents::OUT | PollEvents::HUP | PollEvents::ERR) {
            return Err(Errno::AGAIN);
        }
        rustix::io::write(&*self.fd, &bytes[..bytes.len().min(PIPE_BUF)]).map_err(errno)
    }
}

/// A description of its own for what can be opened again without taking
/// anything away from the others: terminals and pipes.
fn own_description(fd: Arc<OwnedFd>, kind: FileType, terminal: bool) -> (Arc<OwnedFd>, Waits) {
    use rustix::fs::OFlags;
    if kind != FileType::Fifo && !terminal {
        return (fd, Waits::Shared);
    }
    let Ok(flags) = rustix::fs::fcntl_getfl(&*fd) else {
        return (fd, Waits::Shared);
    };
    let access = flags & (OFlags::WRONLY | OFlags::RDWR);
    let own = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(proc_path(&*fd), access | own, rustix::fs::Mode::empty()) {
        // The same terminal or pipe: /proc may show another process's.
        Ok(again) if same_file(&fd, &again) => (Arc::new(again), Waits::Nonblocking),
        _ => (fd, Waits::Shared),
    }
}

fn same_file(a: &OwnedFd, b: &OwnedFd) -> bool {
    match (stat_fd(a), stat_fd(b)) {
        (Ok(a), Ok(b)) => a.ino == b.ino && a.dev == b.dev,
        _ => false,
    }
}

impl<M: Mmu> File<M> for HostStream<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        match self.kind {
            FileType::Block => Positioning::Own,
            // Memory devices have a position; nothing depends on where it is.
            FileType::Character
                if !self.terminal && self.watched.watch.get().is_some_and(Option::is_none) =>
            {
                Positioning::Own
            }
            _ => Positioning::Stream,
        }
    }

    fn position(&self) -> Result<u64, Errno> {
        Ok(rustix::fs::tell(&*self.fd).unwrap_or(0))
    }

    fn set_position(&self, to: u64) -> Result<(), Errno> {
        // Some devices refuse, and nobody can tell.
        let _ = rustix::fs::seek(&*self.fd, rustix::fs::SeekFrom::Start(to));
        Ok(())
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut buffer = vec![0; to.room().min(STEP)];
        let got = self.read_once(&mut buffer)?;
        to.put(&buffer[..got])
    }

    fn write(&self, at: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        let count = from.hand_over(STEP, &mut |bytes| self.write_once(bytes))?;
        Ok((count, at + count as u64))
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn ready(&self) -> PollEvents {
        poll(&self.fd)
    }

    fn queue(&self) -> Option<WaitQueue> {
        self.watched.queue(|_| Err(Errno::PERM))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        stat_fd(&*self.fd)
    }

    fn node(&self) -> Option<NodeRef<M>> {
        match &self.node {
            Some(node) if self.kind != FileType::Fifo || named(node) => Some(node.clone()),
            _ => None,
        }
    }

    fn link(&self) -> Vec<u8> {
        match &self.node {
            Some(node) => Node::<M>::path(&**node).unwrap_or_default(),
            None => b"unknown".to_vec(),
        }
    }

    fn reopen(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        self.node.as_ref().ok_or(Errno::NXIO)?.open(how)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        terminal::ioctl(&self.fd, memory, command, arg)
    }

    fn is_terminal(&self) -> bool {
        self.terminal
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let result = if data_only {
            rustix::fs::fdatasync(&*self.fd)
        } else {
            rustix::fs::fsync(&*self.fd)
        };
        result.map_err(errno)
    }
}

/// Whether a FIFO has a name; a pipe's is only a description.
fn named<M: Mmu>(node: &HostNode<M>) -> bool {
    Node::<M>::path(node).is_ok_and(|path| path.first() == Some(&b'/'))
}
