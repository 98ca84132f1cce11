//! An open socket.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};

use foliant_kernel::fs::{File, FileRef, FileStat, OpenFile, Sink, Source, UserMemory};
use foliant_kernel::park::WaitQueue;
use foliant_kernel::socket::{Incoming, NewName, Outgoing, Socket, Wanted};
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};
use rustix::fs::{AtFlags, CWD, Mode};

use super::parcel::{Arrived, add_rights, take_rights};
use super::raw;
use crate::hostfs::convert::stat_fd;
use crate::hostfs::fs::HostFs;
use crate::hostfs::stream::{Watched, poll};
use crate::hostfs::terminal;

/// Bytes that a plain read or write moves at once.
const STEP: usize = 256 << 10;

/// A socket of the host.
pub(in crate::hostfs) struct HostSocket<M: Mmu> {
    fs: Weak<HostFs<M>>,
    fd: Arc<OwnedFd>,
    watched: Watched,
    /// Its name as the program wrote it, where the host knows another one.
    name: OnceLock<Vec<u8>>,
}

impl<M: Mmu> HostSocket<M> {
    pub(in crate::hostfs) fn new(fs: &HostFs<M>, fd: OwnedFd) -> Self {
        Self::adopt(fs, Arc::new(fd))
    }

    /// A socket that others may use too: every call is told not to wait, so
    /// the flags of the description do not matter.
    pub(in crate::hostfs) fn adopt(fs: &HostFs<M>, fd: Arc<OwnedFd>) -> Self {
        let watched = Watched::new();
        watched.queue(|queue| fs.poller.watch(&fd, queue));
        Self {
            fs: fs.weak(),
            fd,
            watched,
            name: OnceLock::new(),
        }
    }

    fn fs(&self) -> Result<Arc<HostFs<M>>, Errno> {
        self.fs.upgrade().ok_or(Errno::IO)
    }
}

impl<M: Mmu> File<M> for HostSocket<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut bytes = vec![0; to.room().min(STEP)];
        let got = raw::receive(&self.fd, &mut bytes, 0, 0)?;
        to.put(&bytes[..got.length.min(bytes.len())])
    }

    fn write(&self, _: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        let sent = from.hand_over(STEP, &mut |bytes| raw::send(&self.fd, bytes, None, &[], 0))?;
        Ok((sent, 0))
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

    fn link(&self) -> Vec<u8> {
        let ino = stat_fd(&*self.fd).map_or(0, |stat| stat.ino);
        format!("socket:[{ino}]").into_bytes()
    }

    fn socket(&self) -> Option<&dyn Socket<M>> {
        Some(self)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        terminal::ioctl(&self.fd, memory, command, arg)
    }
}

impl<M: Mmu> Socket<M> for HostSocket<M> {
    fn bind(&self, new: NewName<'_>) -> Result<(), Errno> {
        raw::bind(&self.fd, new.name)?;
        let Some(path) = new.path else { return Ok(()) };
        let (family, whole) = new.name.split_at(2);
        // This process has no umask. It does not listen yet, so nobody connects;
        // a datagram may come in between.
        let mode = Mode::from_raw_mode(0o777 & !new.umask);
        let _gone = rustix::fs::chmodat(CWD, whole, mode, AtFlags::empty());
        if path != whole {
            let _once = self.name.set([family, path, b"\0"].concat());
        }
        Ok(())
    }

    fn connect(&self, name: &[u8]) -> Result<(), Errno> {
        raw::connect(&self.fd, name)
    }

    fn error(&self) -> Result<(), Errno> {
        let value = raw::option(&self.fd, libc::SOL_SOCKET, libc::SO_ERROR, 4)?;
        let code = value.try_into().map_or(0, i32::from_ne_bytes);
        Errno::from_raw(code).map_or(Ok(()), Err)
    }

    fn listen(&self, backlog: i32) -> Result<(), Errno> {
        raw::listen(&self.fd, backlog)
    }

    fn accept(&self) -> Result<(FileRef<M>, Vec<u8>), Errno> {
        let (fd, name) = raw::accept(&self.fd)?;
        let mut accepted = Self::new(&*self.fs()?, fd);
        accepted.name = self.name.clone();
        Ok((Arc::new(accepted), name))
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        match self.name.get() {
            Some(name) => Ok(name.clone()),
            None => raw::name(&self.fd),
        }
    }

    fn peer(&self) -> Result<Vec<u8>, Errno> {
        raw::peer(&self.fd)
    }

    fn shutdown(&self, how: i32) -> Result<(), Errno> {
        raw::shutdown(&self.fd, how)
    }

    fn option(&self, level: i32, name: i32, room: usize) -> Result<Vec<u8>, Errno> {
        raw::option(&self.fd, level, name, room)
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        // Their values hold addresses, which mean nothing here.
        let filter = [libc::SO_ATTACH_FILTER, libc::SO_ATTACH_REUSEPORT_CBPF].contains(&name);
        if level == libc::SOL_SOCKET && filter {
            return Err(Errno::NOPROTOOPT);
        }
        raw::set_option(&self.fd, level, name, value)
    }

    fn send(&self, message: Outgoing<'_, M>) -> Result<usize, Errno> {
        if message.files.is_empty() {
            return raw::send(
                &self.fd,
                message.bytes,
                message.name,
                message.control,
                message.flags,
            );
        }
        let fs = self.fs()?;
        let tokens: Vec<OwnedFd> = message
            .files
            .into_iter()
            .map(|open| fs.parcels.pack(open))
            .collect::<Result<_, _>>()?;
        let mut control = message.control.to_vec();
        add_rights(&mut control, &tokens);
        let sent = raw::send(&self.fd, message.bytes, message.name, &control, message.flags);
        if sent.is_err() {
            fs.parcels.forget(&tokens);
        }
        sent
    }

    fn receive(&self, wanted: Wanted) -> Result<Incoming<M>, Errno> {
        let mut bytes = vec![0; wanted.bytes];
        let got = raw::receive(&self.fd, &mut bytes, wanted.control, wanted.flags)?;
        bytes.truncate(got.length);
        let (control, fds) = take_rights(&got.control);
        let mut files = Vec::new();
        if !fds.is_empty() {
            let fs = self.fs()?;
            let peek = wanted.flags & libc::MSG_PEEK as u32 != 0;
            for fd in fds {
                files.push(match fs.parcels.unpack(fd, peek) {
                    Arrived::Open(open) => open,
                    Arrived::Host(fd) => {
                        let flags = rustix::fs::fcntl_getfl(&fd).map_or(0, |flags| flags.bits());
                        OpenFile::new(fs.adopt(fd)?, OpenFlags::from_bits_retain(flags))
                    }
                });
            }
        }
        Ok(Incoming {
            bytes,
            length: got.length,
            name: got.name,
            control,
            files,
            flags: got.flags,
        })
    }
}
