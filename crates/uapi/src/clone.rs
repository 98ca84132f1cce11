//! Flags of `clone(2)`, `clone3(2)`, `unshare(2)` and the wait family.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// What a child shares with its parent, and what else `clone(2)` is to do.
    /// In `clone` (not `clone3`) the low eight bits are the exit signal.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct CloneFlags: u64 {
        /// New time namespace (only `clone3` and `unshare`).
        const NEWTIME = 0x80;
        /// Same address space.
        const VM = 0x100;
        /// Same working directory, root and umask.
        const FS = 0x200;
        /// Same descriptor table.
        const FILES = 0x400;
        /// Same signal handlers.
        const SIGHAND = 0x800;
        /// Returns a pidfd.
        const PIDFD = 0x1000;
        /// A tracer follows the child.
        const PTRACE = 0x2000;
        /// The parent waits until the child execs or exits.
        const VFORK = 0x4000;
        /// Same parent as the caller.
        const PARENT = 0x8000;
        /// Same thread group.
        const THREAD = 0x1_0000;
        /// New mount namespace.
        const NEWNS = 0x2_0000;
        /// Same System V semaphore undo list.
        const SYSVSEM = 0x4_0000;
        /// Sets the thread pointer.
        const SETTLS = 0x8_0000;
        /// Stores the child's id in the parent.
        const PARENT_SETTID = 0x10_0000;
        /// Clears the child's id, and wakes a futex there, when it exits.
        const CHILD_CLEARTID = 0x20_0000;
        /// Ignored.
        const DETACHED = 0x40_0000;
        /// A tracer cannot force `PTRACE`.
        const UNTRACED = 0x80_0000;
        /// Stores the child's id in the child.
        const CHILD_SETTID = 0x100_0000;
        /// New cgroup namespace.
        const NEWCGROUP = 0x200_0000;
        /// New UTS namespace.
        const NEWUTS = 0x400_0000;
        /// New IPC namespace.
        const NEWIPC = 0x800_0000;
        /// New user namespace.
        const NEWUSER = 0x1000_0000;
        /// New pid namespace.
        const NEWPID = 0x2000_0000;
        /// New network namespace.
        const NEWNET = 0x4000_0000;
        /// Same I/O context.
        const IO = 0x8000_0000;
        /// Handlers reset to the default (`clone3`).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// Into the cgroup of a descriptor (`clone3`).
        const INTO_CGROUP = 0x2_0000_0000;
    }
}

/// The argument of `clone3(2)`, in its newest size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CloneArgs {
    /// [`CloneFlags`].
    pub flags: u64,
    /// Where to store the pidfd.
    pub pidfd: u64,
    /// Where to store the child's id in the child.
    pub child_tid: u64,
    /// Where to store the child's id in the parent.
    pub parent_tid: u64,
    /// Signal sent to the parent at exit.
    pub exit_signal: u64,
    /// Lowest byte of the child's stack.
    pub stack: u64,
    /// Bytes of the child's stack.
    pub stack_size: u64,
    /// The child's thread pointer.
    pub tls: u64,
    /// Array of wanted process ids.
    pub set_tid: u64,
    /// Elements of that array.
    pub set_tid_size: u64,
    /// Descriptor of a cgroup.
    pub cgroup: u64,
}

impl CloneArgs {
    /// Size of the first version of the structure.
    pub const SIZE_VER0: usize = 64;
}

bitflags! {
    /// Options of `wait4(2)` and `waitid(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct WaitOptions: u32 {
        /// Do not block.
        const NOHANG = 1;
        /// Also stopped children (`WSTOPPED` of `waitid`).
        const UNTRACED = 2;
        /// Exited children.
        const EXITED = 4;
        /// Continued children.
        const CONTINUED = 8;
        /// Leave the child waitable.
        const NOWAIT = 0x0100_0000;
        /// Only children of this thread.
        const NOTHREAD = 0x2000_0000;
        /// Children of every kind.
        const ALL = 0x4000_0000;
        /// Children that do not report with `SIGCHLD`.
        const CLONE = 0x8000_0000;
    }
}

/// Whom `waitid(2)` waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum WaitIdType {
    /// Any child.
    All = 0,
    /// The child with this id.
    Pid = 1,
    /// Any child of this process group.
    Pgid = 2,
    /// The child behind this descriptor.
    PidFd = 3,
}

impl WaitIdType {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::All),
            1 => Some(Self::Pid),
            2 => Some(Self::Pgid),
            3 => Some(Self::PidFd),
            _ => None,
        }
    }
}

/// How a child changed state, as `wait4(2)` packs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WaitStatus {
    /// Called `exit` with this code.
    Exited(u8),
    /// Killed by a signal; the flag says whether a core was dumped.
    Killed(crate::Signal, bool),
    /// Stopped by a signal.
    Stopped(crate::Signal),
    /// Continued.
    Continued,
}

impl WaitStatus {
    /// The status word.
    pub const fn to_raw(self) -> u32 {
        match self {
            Self::Exited(code) => (code as u32) << 8,
            Self::Killed(signal, core) => signal.raw() as u32 | if core { 0x80 } else { 0 },
            Self::Stopped(signal) => (signal.raw() as u32) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }

    /// What a shell shows as `$?`: the exit code, or 128 plus the signal.
    pub const fn shell_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal, _) | Self::Stopped(signal) => 128 + signal.raw(),
            Self::Continued => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signal;

    #[test]
    fn wait_status_packs_as_the_shell_unpacks() {
        assert_eq!(WaitStatus::Exited(3).to_raw(), 0x300);
        assert_eq!(WaitStatus::Killed(Signal::SEGV, true).to_raw(), 0x8b);
        assert_eq!(WaitStatus::Stopped(Signal::TSTP).to_raw(), 0x147f);
        assert_eq!(WaitStatus::Killed(Signal::KILL, false).shell_code(), 137);
    }
}
