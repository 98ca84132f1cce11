//! inotify: the host tells of what happens to its files, whoever does it. What
//! programs of the machine do to them is done to the host's files at once.

use std::any::Any;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use foliant_kernel::dev::DevDirectory;
use foliant_kernel::fs::{File, FileRef, FileStat, NodeRef, Sink, UserMemory};
use foliant_kernel::inotify::Watches;
use foliant_kernel::park::WaitQueue;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};
use rustix::fs::inotify;

use super::convert::{errno, proc_path, retry, stat_fd};
use super::fs::HostFs;
use super::node::HostNode;
use super::stream::{Watched, poll};
use super::terminal;

/// Bytes of events that one read gives at most.
const STEP: usize = 64 << 10;
/// `IN_DONT_FOLLOW`: the link has been followed, or not, already.
const DONT_FOLLOW: u32 = 0x0200_0000;

/// An inotify descriptor of the host.
pub(super) struct HostWatches {
    fd: Arc<OwnedFd>,
    watched: Watched,
}

impl HostWatches {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// `MFILE` if the host allows no more of them.
    pub(super) fn open<M: Mmu>(fs: &HostFs<M>) -> Result<FileRef<M>, Errno> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = Arc::new(inotify::init(flags).map_err(errno)?);
        let watched = Watched::new();
        watched.queue(|queue| fs.poller.watch(&fd, queue));
        Ok(Arc::new(Self { fd, watched }))
    }
}

impl<M: Mmu> File<M> for HostWatches {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut buffer = vec![0; to.room().min(STEP)];
        let got = retry(|| rustix::io::read(&*self.fd, &mut buffer[..]))?;
        to.put(&buffer[..got])
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

    fn link(&self) -> Vec<u8> {
        b"anon_inode:inotify".to_vec()
    }

    fn watches(&self) -> Option<&dyn Watches<M>> {
        Some(self)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        if command == foliant_uapi::io::ioctl::FIONREAD {
            return terminal::ioctl(&self.fd, memory, command, arg);
        }
        Err(Errno::NOTTY)
    }

    fn fdinfo(&self) -> String {
        let path = format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.split_inclusive('\n');
        lines.filter(|line| line.starts_with("inotify")).collect()
    }
}

impl<M: Mmu> Watches<M> for HostWatches {
    fn add(&self, node: &NodeRef<M>, mask: u32) -> Result<i32, Errno> {
        let node = match (**node).as_any().downcast_ref::<DevDirectory<M>>() {
            Some(dev) => dev.under(),
            None => node,
        };
        // The machine's own files tell nothing.
        let node: &HostNode<M> = (**node).as_any().downcast_ref().ok_or(Errno::OPNOTSUPP)?;
        let mask = inotify::WatchFlags::from_bits_retain(mask & !DONT_FOLLOW);
        inotify::add_watch(&*self.fd, proc_path(node.descriptor()), mask).map_err(errno)
    }

    fn remove(&self, watch: i32) -> Result<(), Errno> {
        inotify::remove_watch(&*self.fd, watch).map_err(errno)
    }
}
