//! The host's tree and what the machine keeps about it.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use foliant_kernel::dev::{Device, DeviceFile};
use foliant_kernel::fs::{FileRef, FileStat, FileType, NodeRef, OpenHow, Writing};
use foliant_mm::Env;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;
use rustix::fs::OFlags;

use super::convert::{errno, kind, stat_fd};
use super::directory::HostDirectory;
use super::fifo::Fifos;
use super::inode::HostInode;
use super::node::HostNode;
use super::poller::Poller;
use super::regular::HostRegular;
use super::socket::{HostSocket, Parcels};
use super::stream::{HostStream, Waits};

/// Keeps a file that is emptied from being run.
pub(super) type Emptying<M> = (Arc<HostInode<M>>, Writing);

/// Which file it is: device and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Identity {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Identity {
    pub(super) fn of(stat: &FileStat) -> Self {
        Self {
            dev: stat.dev,
            ino: stat.ino,
        }
    }
}

/// Closed files whose pages stay cached.
const KEPT_FILES: usize = 256;

/// The host's tree of files.
pub struct HostFs<M: Mmu> {
    me: Weak<Self>,
    env: Arc<Env<M>>,
    root: Identity,
    /// Directories of the host that the machine's own lie over.
    covers: OnceLock<Vec<(Identity, NodeRef<M>)>>,
    inodes: Mutex<BTreeMap<Identity, Weak<HostInode<M>>>>,
    kept: Mutex<VecDeque<Arc<HostInode<M>>>>,
    /// The permissions that this process was started not to give.
    umask: u32,
    /// Pages that the files in `kept` may have in memory.
    kept_pages: u64,
    pub(super) poller: Poller,
    pub(super) parcels: Parcels<M>,
    pub(super) fifos: Fifos,
}

impl<M: Mmu> HostFs<M> {
    /// The tree as this process sees it, whose umask is cleared. Pages of closed files stay in
    /// memory up to `kept_pages` in all.
    ///
    /// # Errors
    /// If the root cannot be looked at, or the thread that watches
    /// descriptors cannot be started.
    pub fn new(env: Arc<Env<M>>, kept_pages: u64) -> Result<Arc<Self>, Errno> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .map_err(errno)?;
        let root = Identity::of(&stat_fd(&root)?);
        let poller = Poller::start()?;
        // New files get their permissions from the umask of the program.
        let umask = rustix::process::umask(rustix::fs::Mode::empty()).bits();
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            env,
            root,
            covers: OnceLock::new(),
            inodes: Mutex::new(BTreeMap::new()),
            kept: Mutex::new(VecDeque::new()),
            kept_pages,
            umask,
            poller,
            parcels: Parcels::default(),
            fifos: Fifos::default(),
        }))
    }

    /// The umask that this process had.
    pub fn inherited_umask(&self) -> u32 {
        self.umask
    }

    /// The root of the tree.
    ///
    /// # Errors
    /// Those of opening `/`.
    pub fn root(&self) -> Result<NodeRef<M>, Errno> {
        self.directory("/")
    }

    /// A directory by the supervisor's own path, such as `.`; what the machine
    /// covers is not looked for.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn directory(&self, path: &str) -> Result<NodeRef<M>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(errno)?;
        let stat = stat_fd(&fd)?;
        Ok(self.node(fd, &stat))
    }

    /// Lays nodes of the machine over directories of the host, given by path.
    /// Directories that the host lacks stay lacking. May be called once.
    pub fn cover(&self, covers: Vec<(&str, NodeRef<M>)>) {
        let mut found = Vec::new();
        for (path, node) in covers {
            let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty());
            if let Some(stat) = fd.ok().and_then(|fd| stat_fd(fd).ok()) {
                found.push((Identity::of(&stat), node));
            }
        }
        // A second call would be a mistake of the machine, not of a program.
        let _ = self.covers.set(found);
    }

    /// The machine's node over a directory of the host.
    pub(super) fn covering(&self, stat: &FileStat) -> Option<NodeRef<M>> {
        if kind(stat) != FileType::Directory {
            return None;
        }
        let identity = Identity::of(stat);
        let covers = self.covers.get()?;
        covers
            .iter()
            .find(|(covered, _)| *covered == identity)
            .map(|(_, node)| node.clone())
    }

    pub(super) fn is_root(&self, identity: Identity) -> bool {
        identity == self.root
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub(super) fn env(&self) -> &Arc<Env<M>> {
        &self.env
    }

    /// The node of an open descriptor, or the machine's node over it.
    pub(super) fn node(&self, fd: OwnedFd, stat: &FileStat) -> NodeRef<M> {
        match self.covering(stat) {
            Some(node) => node,
            None => self.host_node(Arc::new(fd), stat),
        }
    }

    pub(super) fn host_node(&self, fd: Arc<OwnedFd>, stat: &FileStat) -> Arc<HostNode<M>> {
        Arc::new(HostNode::new(self.me.clone(), fd, stat))
    }

    /// A file around a descriptor that was opened for the machine alone, with
    /// `O_NONBLOCK`.
    pub(super) fn file(&self, fd: OwnedFd, how: OpenHow) -> Result<FileRef<M>, Errno> {
        let stat = stat_fd(&fd)?;
        self.file_of(fd, &stat, how)
    }

    /// As [`file`](Self::file), for a descriptor that is known.
    pub(super) fn file_of(&self, fd: OwnedFd, stat: &FileStat, how: OpenHow) -> Result<FileRef<M>, Errno> {
        let fd = if kind(stat) == FileType::Fifo && Fifos::waits(how.flags) {
            self.fifos
                .wait(Identity::of(stat), how.caller.thread, fd)
                .ok_or(Errno::AGAIN)?
        } else {
            fd
        };
        self.ready_file(fd, stat, how)
    }

    /// The FIFO that the caller waits for, if it does: the file once a writer
    /// has come, `AGAIN` until then.
    pub(super) fn awaited(&self, stat: &FileStat, how: OpenHow) -> Option<Result<FileRef<M>, Errno>> {
        if kind(stat) != FileType::Fifo || !Fifos::waits(how.flags) {
            return None;
        }
        let answer = self.fifos.ask(Identity::of(stat), how.caller.thread)?;
        Some(
            answer
                .ok_or(Errno::AGAIN)
                .and_then(|fd| self.ready_file(fd, stat, how)),
        )
    }

    fn ready_file(&self, fd: OwnedFd, stat: &FileStat, how: OpenHow) -> Result<FileRef<M>, Errno> {
        let fd = Arc::new(fd);
        let node = self.host_node(fd.clone(), stat);
        Ok(match kind(stat) {
            FileType::Directory => Arc::new(HostDirectory::new(node, fd)),
            FileType::Regular => {
                let inode = self.inode(stat);
                let writing = how.flags.writable().then(|| inode.writers.write()).transpose()?;
                self.use_inode(&inode, &fd, how.flags, stat);
                Arc::new(HostRegular::new(self, inode, (node, fd), writing, false))
            }
            _ => match Device::of(stat.rdev).filter(|_| kind(stat) == FileType::Character) {
                Some(device) => Arc::new(DeviceFile::new(device, self.env.clone())),
                None => Arc::new(HostStream::new(self, Some(node), fd, Waits::Nonblocking)),
            },
        })
    }

    /// A file around a descriptor that others use too (standard input and the
    /// like): its flags and position stay as they are.
    ///
    /// # Errors
    /// `BADF` and others of `fstat`.
    pub fn adopt(&self, fd: OwnedFd) -> Result<FileRef<M>, Errno> {
        let stat = stat_fd(&fd)?;
        let fd = Arc::new(fd);
        let node = self.host_node(fd.clone(), &stat);
        let flags = rustix::fs::fcntl_getfl(&*fd).map_err(errno)?;
        let flags = OpenFlags::from_bits_retain(flags.bits());
        Ok(match kind(&stat) {
            FileType::Directory => Arc::new(HostDirectory::new(node, fd)),
            FileType::Regular => {
                let inode = self.inode(&stat);
                // Who shares it was not asked, either.
                let writing = flags.writable().then(|| inode.writers.write().ok()).flatten();
                self.use_inode(&inode, &fd, flags, &stat);
                Arc::new(HostRegular::new(self, inode, (node, fd), writing, true))
            }
            FileType::Socket => Arc::new(HostSocket::adopt(self, fd)),
            _ => match Device::of(stat.rdev).filter(|_| kind(&stat) == FileType::Character) {
                Some(device) => Arc::new(DeviceFile::new(device, self.env.clone())),
                None => Arc::new(HostStream::new(self, Some(node), fd, Waits::Shared)),
            },
        })
    }

    /// The machine's inode of a regular file.
    fn inode(&self, stat: &FileStat) -> Arc<HostInode<M>> {
        let identity = Identity::of(stat);
        let mut inodes = guard(&self.inodes);
        let known = inodes.get(&identity).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let inode = HostInode::new(self.env(), identity, stat);
            inodes.retain(|_, inode| inode.strong_count() > 0);
            inodes.insert(identity, Arc::downgrade(&inode));
            inode
        })
    }

    /// The host is about to empty a file: what is returned keeps it from being
    /// run meanwhile.
    ///
    /// # Errors
    /// `TXTBSY` if it runs.
    pub(super) fn about_to_empty(&self, stat: &FileStat) -> Result<Option<Emptying<M>>, Errno> {
        if kind(stat) != FileType::Regular {
            return Ok(None);
        }
        let inode = self.inode(stat);
        let writing = inode.writers.write()?;
        Ok(Some((inode, writing)))
    }

    /// Its file was just opened.
    fn use_inode(&self, inode: &Arc<HostInode<M>>, fd: &Arc<OwnedFd>, flags: OpenFlags, stat: &FileStat) {
        inode.opened(fd, flags, stat);
        self.keep(inode);
    }

    /// Notes that `inode` is the one used last, and lets go of those that were
    /// not used for long.
    fn keep(&self, inode: &Arc<HostInode<M>>) {
        let mut dropped = Vec::new();
        let mut kept = guard(&self.kept);
        kept.retain(|other| !Arc::ptr_eq(other, inode));
        kept.push_back(inode.clone());
        let mut pages: u64 = kept.iter().map(|inode| inode.cached_pages()).sum();
        while kept.len() > KEPT_FILES || (pages > self.kept_pages && kept.len() > 1) {
            let Some(oldest) = kept.pop_front() else { break };
            pages -= oldest.cached_pages().min(pages);
            dropped.push(oldest);
        }
        drop(kept);
        // Outside the lock: the last reference writes back and closes.
        drop(dropped);
    }

    /// A file has lost its last name: what is kept of it would only hold its
    /// blocks on the disk.
    pub(super) fn forget(&self, gone: Identity) {
        let mut kept = guard(&self.kept);
        let at = kept.iter().position(|inode| inode.identity() == gone);
        let inode = at.and_then(|at| kept.remove(at));
        drop(kept);
        drop(inode);
    }

    /// Lets go of the pages of closed files, after writing back what is dirty.
    pub fn forget_closed(&self) {
        let kept = std::mem::take(&mut *guard(&self.kept));
        // Outside the lock: the last reference writes back and closes.
        drop(kept);
    }

    /// Files larger than this are read around the cache, in pages.
    pub(super) fn large(&self) -> u64 {
        self.kept_pages
    }

    /// Writes everything that mappings have changed to the host's files.
    pub fn sync(&self) {
        let inodes: Vec<_> = guard(&self.inodes).values().filter_map(Weak::upgrade).collect();
        for inode in inodes {
            // As with sync(2), nobody hears of an error.
            let _ = inode.write_back();
        }
    }
}

/// A lock whose holder never panics half-way.
pub(super) fn guard<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
