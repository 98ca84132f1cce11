//! Record locks on the host, so that programs outside see them.
//!
//! All guests are one process to the host. A process's locks (`F_SETLK`) are
//! therefore locks of a description (`F_OFD_SETLK`) that is opened for that
//! process and inode alone, and closed with the first descriptor that the
//! process closes: exactly what POSIX wants.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

use foliant_uapi::io::Flock;
use foliant_units::Errno;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::convert::{errno, last_errno, proc_path};
use super::fs::guard;

/// `l_type` of no lock.
pub(super) const UNLOCK: i16 = 2;

/// The locks of processes on one inode.
#[derive(Default)]
pub(super) struct Locks {
    owners: Mutex<BTreeMap<i32, OwnedFd>>,
}

impl Locks {
    /// Sets or tests a lock of `process`; `fd` is a descriptor of the inode.
    pub(super) fn set(
        &self,
        process: i32,
        fd: &OwnedFd,
        lock: &Flock,
        test: bool,
    ) -> Result<Option<Flock>, Errno> {
        let mut owners = guard(&self.owners);
        let own = match owners.entry(process) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(_) if lock.kind == UNLOCK => return Ok(None),
            Entry::Vacant(place) => place.insert(reopen(fd)?),
        };
        let found = set(own, lock, test)?;
        Ok(found.map(|found| self.name_owner(&owners, process, found)))
    }

    /// Tells whose lock it is, if it is one of another guest.
    fn name_owner(&self, owners: &BTreeMap<i32, OwnedFd>, asker: i32, found: Flock) -> Flock {
        let holds = |(&process, fd): (&i32, &OwnedFd)| {
            // Its own lock is in nobody's way: whoever does not see it, holds it.
            let probe = Flock { kind: 1, ..found };
            let seen = set(fd, &probe, true);
            (process != asker && matches!(seen, Ok(None))).then_some(process)
        };
        match owners.iter().find_map(holds) {
            Some(process) => Flock {
                pid: process,
                ..found
            },
            None => found,
        }
    }

    /// `process` closed a descriptor of the inode: all its locks end.
    pub(super) fn release(&self, process: i32) {
        let lock = guard(&self.owners).remove(&process);
        drop(lock);
    }
}

/// A description of its own for the same file, with as many rights as can be had.
fn reopen(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    let path = proc_path(fd);
    let open = |flags| {
        rustix::fs::open(
            &path[..],
            flags | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
        )
    };
    open(OFlags::RDWR)
        .or_else(|_| open(OFlags::RDONLY))
        .or_else(|_| open(OFlags::WRONLY))
        .map_err(errno)
}

/// Sets or tests a lock of the description behind `fd`.
pub(super) fn set(fd: &OwnedFd, lock: &Flock, test: bool) -> Result<Option<Flock>, Errno> {
    let mut raw = libc::flock {
        l_type: lock.kind,
        l_whence: lock.whence,
        l_start: lock.start,
        l_len: lock.len,
        l_pid: 0,
    };
    let command = if test {
        libc::F_OFD_GETLK
    } else {
        libc::F_OFD_SETLK
    };
    // SAFETY:
    // 1. `fd` is open for as long as it is borrowed.
    // 2. Both commands read and write one `struct flock`, which `raw` is.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &mut raw) };
    if result < 0 {
        return Err(match last_errno() {
            Errno::ACCES => Errno::AGAIN,
            other => other,
        });
    }
    if !test || raw.l_type == UNLOCK {
        return Ok(None);
    }
    Ok(Some(Flock {
        kind: raw.l_type,
        whence: raw.l_whence,
        start: raw.l_start,
        len: raw.l_len,
        pid: raw.l_pid,
        ..*lock
    }))
}

/// `flock(2)` of the description behind `fd`, without waiting.
pub(super) fn flock(fd: &OwnedFd, exclusive: Option<bool>) -> Result<(), Errno> {
    let operation = match exclusive {
        Some(true) => FlockOperation::NonBlockingLockExclusive,
        Some(false) => FlockOperation::NonBlockingLockShared,
        None => FlockOperation::NonBlockingUnlock,
    };
    rustix::fs::flock(fd, operation).map_err(errno)
}
