//! Seccomp's user notifications: the calls of all guests, in one queue.

use std::os::fd::{AsRawFd, OwnedFd};

use super::error::HostError;
use super::sys::check;

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct RawNotification {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    ip: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct RawResponse {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const fn ioctl_rw(nr: u64, size: usize) -> u64 {
    3 << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | nr
}

const RECEIVE: u64 = ioctl_rw(0, size_of::<RawNotification>());
const SEND: u64 = ioctl_rw(1, size_of::<RawResponse>());
const SET_FLAGS: u64 = 1 << 30 | 8 << 16 | (b'!' as u64) << 8 | 4;
const SYNC_WAKE_UP: u64 = 1;

/// A call that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallId(u64);

/// What a thread asks.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// By what to answer.
    pub id: CallId,
    /// The host thread.
    pub thread: i32,
    /// The number of the system call.
    pub nr: u32,
    /// The address behind the `syscall` instruction.
    pub ip: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What came of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// The thread goes on.
    Delivered,
    /// The thread is gone, killed while it waited.
    Lost,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Takes the descriptor that the filter's installation returned, and asks
    /// for wake-ups on the caller's CPU where the host knows them (6.6).
    pub(super) fn new(fd: OwnedFd) -> Self {
        // SAFETY: the ioctl takes a number; where it is unknown, wake-ups are
        // plain and all else is the same.
        unsafe { libc::ioctl(fd.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
        Self(fd)
    }

    /// Waits for the next call. `None` if the caller that was there is gone or
    /// a signal came.
    ///
    /// # Errors
    /// Host errors that will not go away.
    pub(super) fn receive(&self) -> Result<Option<Call>, HostError> {
        let mut raw = RawNotification::default();
        // SAFETY: `raw` is what the kernel writes, zeroed as it demands.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, &raw mut raw) };
        match check("SECCOMP_IOCTL_NOTIF_RECV", result) {
            Ok(_) => Ok(Some(Call {
                id: CallId(raw.id),
                thread: raw.pid as i32,
                nr: raw.nr as u32,
                ip: raw.ip,
                args: raw.args,
            })),
            Err(error) if matches!(error.errno, libc::EINTR | libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a call waits to be received.
    pub(super) fn is_waiting(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure, as said.
        unsafe { libc::poll(&raw mut poll, 1, 10) == 1 && poll.revents & libc::POLLIN != 0 }
    }

    /// Answers a call with `value`, which the thread finds in RAX.
    pub(super) fn answer(&self, id: CallId, value: u64) -> Answered {
        let mut raw = RawResponse {
            id: id.0,
            value: value as i64,
            error: 0,
            flags: 0,
        };
        // SAFETY: `raw` is what the kernel reads.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SEND, &raw mut raw) };
        if result == 0 {
            Answered::Delivered
        } else {
            Answered::Lost
        }
    }
}
