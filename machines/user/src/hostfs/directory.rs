//! An open directory of the host.

use std::any::Any;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use foliant_kernel::fs::{Entry, File, FileStat, FileType, NodeRef, Positioning, Sink, Splices, put_entry};
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;
use rustix::fs::RawDir;

use super::convert::{errno, stat_fd};
use super::fs::guard;
use super::node::HostNode;

/// A directory that is listed.
pub(super) struct HostDirectory<M: Mmu> {
    node: Arc<HostNode<M>>,
    fd: Arc<OwnedFd>,
    /// Where the host's own position is.
    at: Mutex<u64>,
}

impl<M: Mmu> HostDirectory<M> {
    pub(super) fn new(node: Arc<HostNode<M>>, fd: Arc<OwnedFd>) -> Self {
        Self {
            node,
            fd,
            at: Mutex::new(0),
        }
    }
}

impl<M: Mmu> File<M> for HostDirectory<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, _: u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::ISDIR)
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        stat_fd(&*self.fd)
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn seek_end(&self) -> Result<i64, Errno> {
        Ok(i64::MAX)
    }

    fn sync(&self, _: bool) -> Result<(), Errno> {
        rustix::fs::fsync(&*self.fd).map_err(errno)
    }

    fn flock(&self, exclusive: Option<bool>) -> Result<(), Errno> {
        super::lock::flock(&self.fd, exclusive)
    }

    fn entries(&self, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        let mut at = guard(&self.at);
        if *at != position {
            rustix::fs::seek(&*self.fd, rustix::fs::SeekFrom::Start(position)).map_err(errno)?;
            *at = position;
        }
        // As much as fits and no more: what was read is behind the host's position.
        let mut buffer = vec![MaybeUninit::uninit(); room];
        let mut entries = RawDir::new(&*self.fd, &mut buffer[..]);
        let mut out = Vec::with_capacity(room);
        let mut next = position;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(errno)?;
            next = entry.next_entry_cookie();
            let found = Entry {
                ino: entry.ino(),
                kind: file_type(entry.file_type()),
                name: entry.file_name().to_bytes().to_vec(),
            };
            if !put_entry(&mut out, room, &found, next) {
                break;
            }
            if entries.is_buffer_empty() {
                break;
            }
        }
        *at = next;
        Ok((out, next))
    }
}

fn file_type(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::RegularFile => FileType::Regular,
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::Fifo,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::Character,
        rustix::fs::FileType::BlockDevice => FileType::Block,
        rustix::fs::FileType::Unknown => FileType::Unknown,
    }
}
