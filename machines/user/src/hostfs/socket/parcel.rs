//! Open files that travel over sockets.
//!
//! What a guest sends is not the host's to carry: a pipe of the machine has no
//! descriptor there. So a token goes in its place, an empty memory file whose
//! inode number is the key to what was sent.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

use foliant_kernel::fd::OpenRef;
use foliant_platform::Mmu;
use foliant_units::Errno;
use rustix::fs::MemfdFlags;

use super::raw;
use crate::hostfs::convert::{errno, stat_fd};
use crate::hostfs::fs::{Identity, guard};

/// What is under way, by the token that stands for it.
pub(in crate::hostfs) struct Parcels<M: Mmu> {
    sent: Mutex<BTreeMap<Identity, OpenRef<M>>>,
}

/// Bytes of the header of a control message.
const HEADER: usize = 16;

/// Something that came with a message.
pub(super) enum Arrived<M: Mmu> {
    /// Sent by a guest.
    Open(OpenRef<M>),
    /// Sent by a program on the host.
    Host(OwnedFd),
}

impl<M: Mmu> Default for Parcels<M> {
    fn default() -> Self {
        Self {
            sent: Mutex::new(BTreeMap::new()),
        }
    }
}

impl<M: Mmu> Parcels<M> {
    /// Makes a token for `file`.
    pub(super) fn pack(&self, file: OpenRef<M>) -> Result<OwnedFd, Errno> {
        let token = rustix::fs::memfd_create(c"foliant-file", MemfdFlags::CLOEXEC).map_err(errno)?;
        let identity = Identity::of(&stat_fd(&token)?);
        guard(&self.sent).insert(identity, file);
        Ok(token)
    }

    /// What a descriptor that arrived stands for. A message that is only
    /// looked at (`peek`) leaves it under way.
    pub(super) fn unpack(&self, fd: OwnedFd, peek: bool) -> Arrived<M> {
        let Ok(stat) = stat_fd(&fd) else {
            return Arrived::Host(fd);
        };
        let identity = Identity::of(&stat);
        let mut sent = guard(&self.sent);
        let found = if peek {
            sent.get(&identity).cloned()
        } else {
            sent.remove(&identity)
        };
        drop(sent);
        match found {
            Some(open) => Arrived::Open(open),
            None => Arrived::Host(fd),
        }
    }

    /// A token that could not be sent stands for nothing.
    pub(super) fn forget(&self, tokens: &[OwnedFd]) {
        for token in tokens {
            if let Ok(stat) = stat_fd(token) {
                let open = guard(&self.sent).remove(&Identity::of(&stat));
                drop(open);
            }
        }
    }
}

/// Appends an `SCM_RIGHTS` message that carries `tokens`.
pub(super) fn add_rights(control: &mut Vec<u8>, tokens: &[OwnedFd]) {
    if tokens.is_empty() {
        return;
    }
    let length = HEADER + tokens.len() * 4;
    control.extend_from_slice(&(length as u64).to_ne_bytes());
    control.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control.extend_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    for token in tokens {
        control.extend_from_slice(&token.as_raw_fd().to_ne_bytes());
    }
    control.resize(control.len().next_multiple_of(8), 0);
}

/// Takes the descriptors out of control messages that have just been received.
pub(super) fn take_rights(control: &[u8]) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut rest = Vec::new();
    let mut fds = Vec::new();
    let mut at = 0;
    while let Some(header) = control.get(at..at + HEADER) {
        let word = |from: usize| {
            i32::from_ne_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
        };
        let length = word(0) as usize;
        let Some(message) = control.get(at..at + length).filter(|_| length >= HEADER) else {
            break;
        };
        if (word(8), word(12)) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            for raw in message[HEADER..].chunks_exact(4) {
                fds.extend(raw::adopt(i32::from_ne_bytes([raw[0], raw[1], raw[2], raw[3]])));
            }
        } else {
            rest.extend_from_slice(message);
            rest.resize(rest.len().next_multiple_of(8), 0);
        }
        at += length.next_multiple_of(8);
    }
    (rest, fds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_found_among_other_messages() {
        let token = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC).unwrap();
        let copy = rustix::io::fcntl_dupfd_cloexec(&token, 0).unwrap();
        let number = copy.as_raw_fd();
        let mut control = vec![0; 24];
        control[0] = 20;
        control[8] = 1;
        control[12] = 2;
        add_rights(&mut control, std::slice::from_ref(&copy));
        // Its number is in the message now, and whoever takes it apart owns it.
        std::mem::forget(copy);
        let (rest, fds) = take_rights(&control);
        assert_eq!(rest.len(), 24);
        assert_eq!(fds.len(), 1);
        assert_eq!(fds[0].as_raw_fd(), number);
    }
}
