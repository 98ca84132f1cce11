//! Readiness: poll, epoll, and the descriptors made for it.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// Events of `poll(2)` and `epoll(7)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PollEvents: u32 {
        /// Data to read.
        const IN = 0x1;
        /// Urgent data.
        const PRI = 0x2;
        /// Room to write.
        const OUT = 0x4;
        /// Error (always reported).
        const ERR = 0x8;
        /// Hang-up (always reported).
        const HUP = 0x10;
        /// Bad descriptor (`poll` only).
        const NVAL = 0x20;
        /// Normal data to read.
        const RDNORM = 0x40;
        /// Priority band data to read.
        const RDBAND = 0x80;
        /// Room for normal data.
        const WRNORM = 0x100;
        /// Room for priority band data.
        const WRBAND = 0x200;
        /// Message (unused).
        const MSG = 0x400;
        /// The peer closed its writing half.
        const RDHUP = 0x2000;
        /// Wakes only one waiter (`epoll` only).
        const EXCLUSIVE = 1 << 28;
        /// Keeps the system awake (`epoll` only).
        const WAKEUP = 1 << 29;
        /// Once (`epoll` only).
        const ONESHOT = 1 << 30;
        /// On changes only (`epoll` only).
        const ET = 1 << 31;
    }
}

/// An element of `poll(2)`'s array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollFd {
    /// Descriptor; negative ones are skipped.
    pub fd: i32,
    /// [`PollEvents`] wanted.
    pub events: u16,
    /// [`PollEvents`] that are.
    pub revents: u16,
}

/// An event of `epoll_wait(2)`; 12 bytes on x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct EpollEvent {
    /// [`PollEvents`].
    pub events: u32,
    /// The caller's own.
    pub data: u64,
}

/// Operations of `epoll_ctl(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum EpollCtl {
    /// Adds a descriptor.
    Add = 1,
    /// Removes one.
    Del = 2,
    /// Changes one.
    Mod = 3,
}

impl EpollCtl {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Add),
            2 => Some(Self::Del),
            3 => Some(Self::Mod),
            _ => None,
        }
    }
}

bitflags! {
    /// Flags of `eventfd2(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct EventFdFlags: u32 {
        /// Reads take one.
        const SEMAPHORE = 1;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Close on exec.
        const CLOEXEC = 0o2000000;
    }
}

/// What a signalfd delivers: 128 bytes per signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalFdInfo {
    /// Signal.
    pub signo: u32,
    /// Rarely used.
    pub errno: i32,
    /// Why.
    pub code: i32,
    /// Sender.
    pub pid: u32,
    /// Sender's user.
    pub uid: u32,
    /// Descriptor (`SIGIO`).
    pub fd: i32,
    /// Timer id.
    pub tid: u32,
    /// Band event (`SIGIO`).
    pub band: u32,
    /// Timer overruns.
    pub overrun: u32,
    /// Trap number.
    pub trapno: u32,
    /// Exit code or signal (`SIGCHLD`).
    pub status: i32,
    /// Value of `sigqueue`, as integer.
    pub int: i32,
    /// Value of `sigqueue`, as pointer.
    pub ptr: u64,
    /// User time (`SIGCHLD`).
    pub utime: u64,
    /// System time (`SIGCHLD`).
    pub stime: u64,
    /// Address of a fault.
    pub addr: u64,
    /// Least significant bit of a hardware error's address.
    pub addr_lsb: u16,
    /// Padding.
    pub pad2: u16,
    /// System call number (`SIGSYS`).
    pub syscall: i32,
    /// System call's address (`SIGSYS`).
    pub call_addr: u64,
    /// Architecture (`SIGSYS`).
    pub arch: u32,
    /// Padding.
    pub pad: [u8; 28],
}

const _: () = assert!(size_of::<PollFd>() == 8);
const _: () = assert!(size_of::<EpollEvent>() == 12);
const _: () = assert!(size_of::<SignalFdInfo>() == 128);
