//! A place in the host's tree.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use foliant_kernel::fs::{
    Access, Caller, FileRef, FileStat, FileType, Link, Node, NodeRef, OpenHow, Opened, SetAttr, SetTime,
};
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::Statfs;
use foliant_units::Errno;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};

use super::convert::{errno, kind, open_flags, proc_path, stat_at, stat_fd, statfs};
use super::fs::{Emptying, HostFs, Identity};

/// Names in the root that the machine's own directories may lie over.
const COVERED: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// A file of the host, held by a descriptor (`O_PATH`, or one that is open).
pub(super) struct HostNode<M: Mmu> {
    fs: Weak<HostFs<M>>,
    fd: Arc<OwnedFd>,
    identity: Identity,
    kind: FileType,
}

impl<M: Mmu> HostNode<M> {
    pub(super) fn new(fs: Weak<HostFs<M>>, fd: Arc<OwnedFd>, stat: &FileStat) -> Self {
        Self {
            fs,
            fd,
            identity: Identity::of(stat),
            kind: kind(stat),
        }
    }

    /// What holds it.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.fd
    }

    fn fs(&self) -> Result<Arc<HostFs<M>>, Errno> {
        // The machine is going down.
        self.fs.upgrade().ok_or(Errno::IO)
    }

    fn proc_path(&self) -> String {
        proc_path(&*self.fd)
    }

    /// Finds `name`, following nothing.
    fn find(&self, name: &[u8]) -> Result<NodeRef<M>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.fd, name, flags, Mode::empty()).map_err(errno)?;
        let stat = stat_fd(&fd)?;
        Ok(self.fs()?.node(fd, &stat))
    }

    /// What must be held while the host opens a file as `how` says: nobody may
    /// run one that is emptied by that.
    fn empties(
        &self,
        how: OpenHow,
        stat: impl FnOnce() -> Result<FileStat, Errno>,
    ) -> Result<Option<Emptying<M>>, Errno> {
        if !how.flags.contains(OpenFlags::TRUNC) {
            return Ok(None);
        }
        // What is not there yet is not run.
        let Ok(stat) = stat() else { return Ok(None) };
        self.fs()?.about_to_empty(&stat)
    }

    /// The answer to a caller that waits for this FIFO.
    fn awaited(&self, how: OpenHow) -> Result<Option<FileRef<M>>, Errno> {
        let fs = self.fs()?;
        if self.kind != FileType::Fifo || !fs.fifos.any() {
            return Ok(None);
        }
        fs.awaited(&stat_fd(&*self.fd)?, how).transpose()
    }

    fn is_root(&self) -> bool {
        self.fs().is_ok_and(|fs| fs.is_root(self.identity))
    }
}

/// The host's node behind `node`, if it is one.
fn host<M: Mmu>(node: &NodeRef<M>) -> Result<&HostNode<M>, Errno> {
    (**node).as_any().downcast_ref().ok_or(Errno::XDEV)
}

impl<M: Mmu> Node<M> for HostNode<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        stat_fd(&*self.fd)
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        let path = rustix::fs::readlink(self.proc_path(), Vec::new()).map_err(errno)?;
        Ok(path.into_bytes())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if self.kind == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        if let Some(file) = self.awaited(how)? {
            return Ok(file);
        }
        let _meanwhile = self.empties(how, || stat_fd(&*self.fd))?;
        let flags = open_flags(how.flags - OpenFlags::CREAT - OpenFlags::EXCL);
        let mode = Mode::from_raw_mode(how.mode);
        let fd = if self.kind == FileType::Directory {
            rustix::fs::openat(&*self.fd, c".", flags, mode)
        } else {
            rustix::fs::open(self.proc_path(), flags, mode)
        };
        self.fs()?
            .file(fd.map_err(|error| open_error(error, self.kind, how.flags))?, how)
    }

    fn link(&self, _: Caller) -> Result<Link<M>, Errno> {
        if self.kind != FileType::Symlink {
            return Err(Errno::INVAL);
        }
        let text = rustix::fs::readlinkat(&*self.fd, c"", Vec::new()).map_err(errno)?;
        Ok(Link::Text(text.into_bytes()))
    }

    fn lookup(&self, name: &[u8], _: Caller) -> Result<NodeRef<M>, Errno> {
        self.find(name)
    }

    fn stat_child(&self, name: &[u8], caller: Caller) -> Result<FileStat, Errno> {
        if self.kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let stat = stat_at(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match self.fs()?.covering(&stat) {
            Some(_) => self.lookup(name, caller)?.stat(),
            None => Ok(stat),
        }
    }

    fn descend(&self, path: &[u8]) -> Option<Result<NodeRef<M>, Errno>> {
        let first = path.split(|&byte| byte == b'/').next()?;
        if COVERED.contains(&first) && self.is_root() {
            return None;
        }
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&*self.fd, path, flags, Mode::empty(), resolve) {
            Ok(fd) => Some(stat_fd(&fd).and_then(|stat| Ok(self.fs()?.node(fd, &stat)))),
            // The three that every host tells alike; for the rest, step by step.
            Err(rustix::io::Errno::NOENT) => Some(Err(Errno::NOENT)),
            Err(rustix::io::Errno::NOTDIR) => None,
            Err(_) => None,
        }
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.find(b"..")
    }

    fn open_child(&self, name: &[u8], how: OpenHow) -> Result<Opened<M>, Errno> {
        let fs = self.fs()?;
        if fs.fifos.any()
            && let Ok(stat) = stat_at(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            && let Some(answer) = fs.awaited(&stat, how)
        {
            return answer.map(Opened::File);
        }
        let _meanwhile = self.empties(how, || stat_at(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW))?;
        let flags = open_flags(how.flags) | OFlags::NOFOLLOW;
        match rustix::fs::openat(&*self.fd, name, flags, Mode::from_raw_mode(how.mode)) {
            Ok(fd) => {
                let stat = stat_fd(&fd)?;
                let file = match fs.covering(&stat) {
                    Some(node) => node.open(how),
                    None => fs.file_of(fd, &stat, how),
                };
                file.map(Opened::File)
            }
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                let node = self.find(name)?;
                match node.kind() {
                    FileType::Symlink => Ok(Opened::Link(node)),
                    _ => Err(Errno::NOTDIR),
                }
            }
            Err(rustix::io::Errno::NXIO) => Err(open_error(
                rustix::io::Errno::NXIO,
                self.find(name)?.kind(),
                how.flags,
            )),
            Err(error) => Err(errno(error)),
        }
    }

    fn make_directory(&self, name: &[u8], mode: u32, _: Caller) -> Result<(), Errno> {
        rustix::fs::mkdirat(&*self.fd, name, Mode::from_raw_mode(mode)).map_err(errno)
    }

    fn make_node(&self, name: &[u8], mode: u32, device: u64, _: Caller) -> Result<(), Errno> {
        let kind = rustix::fs::FileType::from_raw_mode(mode);
        rustix::fs::mknodat(&*self.fd, name, kind, Mode::from_raw_mode(mode), device).map_err(errno)
    }

    fn make_link(&self, name: &[u8], target: &[u8], _: Caller) -> Result<(), Errno> {
        rustix::fs::symlinkat(target, &*self.fd, name).map_err(errno)
    }

    fn add_name(&self, name: &[u8], node: &NodeRef<M>, _: Caller) -> Result<(), Errno> {
        let old = host(node)?;
        let follow = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(rustix::fs::CWD, old.proc_path(), &*self.fd, name, follow).map_err(errno)
    }

    fn remove(&self, name: &[u8], directory: bool, _: Caller) -> Result<(), Errno> {
        let flags = if directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        rustix::fs::unlinkat(&*self.fd, name, flags).map_err(errno)
    }

    fn rename(
        &self,
        name: &[u8],
        to: &NodeRef<M>,
        new_name: &[u8],
        flags: u32,
        _: Caller,
    ) -> Result<(), Errno> {
        let to = host(to)?;
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags);
        if flags.is_empty() {
            return rustix::fs::renameat(&*self.fd, name, &*to.fd, new_name).map_err(errno);
        }
        rustix::fs::renameat_with(&*self.fd, name, &*to.fd, new_name, flags).map_err(errno)
    }

    fn set(&self, change: SetAttr) -> Result<(), Errno> {
        let here = rustix::fs::CWD;
        let path = self.proc_path();
        match change {
            SetAttr::Mode(mode) => {
                rustix::fs::chmodat(here, path, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(errno)
            }
            SetAttr::Owner(user, group) => {
                let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
                rustix::fs::chownat(&*self.fd, c"", user, group, AtFlags::EMPTY_PATH).map_err(errno)
            }
            SetAttr::Times(access, modify) => {
                let times = Timestamps {
                    last_access: time(access),
                    last_modification: time(modify),
                };
                rustix::fs::utimensat(here, path, &times, AtFlags::empty()).map_err(errno)
            }
            SetAttr::Size(size) => self
                .open(OpenHow {
                    flags: OpenFlags::WRONLY,
                    mode: 0,
                    caller: Caller::MACHINE,
                })?
                .truncate(size),
        }
    }

    fn access(&self, what: Access) -> Result<(), Errno> {
        let mode = rustix::fs::Access::from_bits_retain(what.mode);
        let flags = if what.effective {
            AtFlags::EACCESS
        } else {
            AtFlags::empty()
        };
        rustix::fs::accessat(rustix::fs::CWD, self.proc_path(), mode, flags).map_err(errno)
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        rustix::fs::fstatfs(&*self.fd)
            .map(|found| statfs(&found))
            .map_err(errno)
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; 65536];
        let count = rustix::fs::getxattr(self.proc_path(), name, &mut value[..]).map_err(errno)?;
        value.truncate(count);
        Ok(value)
    }

    fn xattrs(&self) -> Result<Vec<u8>, Errno> {
        let mut names = vec![0; 65536];
        let count = rustix::fs::listxattr(self.proc_path(), &mut names[..]).map_err(errno)?;
        names.truncate(count);
        Ok(names)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let flags = rustix::fs::XattrFlags::from_bits_retain(flags);
        rustix::fs::setxattr(self.proc_path(), name, value, flags).map_err(errno)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::removexattr(self.proc_path(), name).map_err(errno)
    }
}

/// What opening says. A FIFO that nobody reads is asked for again by a caller
/// that may wait.
fn open_error(error: rustix::io::Errno, kind: FileType, flags: OpenFlags) -> Errno {
    let waits = kind == FileType::Fifo && !flags.contains(OpenFlags::NONBLOCK);
    if error == rustix::io::Errno::NXIO && waits {
        Errno::AGAIN
    } else {
        errno(error)
    }
}

fn time(at: SetTime) -> Timespec {
    match at {
        SetTime::Keep => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        SetTime::To(time) => Timespec {
            tv_sec: time.sec,
            tv_nsec: time.nsec,
        },
    }
}

impl<M: Mmu> AsFd for HostNode<M> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
