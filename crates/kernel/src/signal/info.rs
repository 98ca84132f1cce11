//! What came with a signal.

use foliant_units::VirtAddr;

use super::number::Signal;
use crate::pid::Pid;

/// A `siginfo_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SigInfo {
    /// Which signal.
    pub signal: Signal,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`: who sent it, or what went wrong.
    pub code: i32,
    /// The rest, by kind.
    pub detail: Detail,
}

/// The union inside a `siginfo_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// All zero.
    None,
    /// `kill`, `tgkill`: from whom.
    Sender {
        /// Sending process.
        pid: Pid,
        /// Its real user id.
        uid: u32,
    },
    /// A POSIX timer.
    Timer {
        /// The timer's number.
        id: i32,
        /// Expirations since the last delivery.
        overrun: i32,
        /// `sigev_value`.
        value: u64,
    },
    /// `SIGCHLD`.
    Child {
        /// The child.
        pid: Pid,
        /// Its real user id.
        uid: u32,
        /// Exit code or signal number.
        status: i32,
        /// User time in clock ticks.
        utime: i64,
        /// System time in clock ticks.
        stime: i64,
    },
    /// `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGTRAP`: where.
    Fault {
        /// `si_addr`.
        addr: VirtAddr,
    },
    /// `SIGIO`.
    Poll {
        /// Poll events.
        band: i64,
        /// File descriptor.
        fd: i32,
    },
    /// Whatever user code handed in: bytes 16 to 128.
    Raw([u64; 14]),
}

/// Values of `si_code`.
pub mod code {
    #![allow(missing_docs, reason = "they are the ABI's names")]
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_INTOVF: i32 = 2;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
    pub const SYS_SECCOMP: i32 = 1;
}

impl SigInfo {
    /// Sent by the kernel for no stated reason.
    pub const fn kernel(signal: Signal) -> Self {
        Self {
            signal,
            errno: 0,
            code: code::SI_KERNEL,
            detail: Detail::None,
        }
    }

    /// Sent by a process with `kill`.
    pub const fn user(signal: Signal, pid: Pid, uid: u32) -> Self {
        Self {
            signal,
            errno: 0,
            code: code::SI_USER,
            detail: Detail::Sender { pid, uid },
        }
    }

    /// Caused by an instruction that touched `addr`.
    pub const fn fault(signal: Signal, code: i32, addr: VirtAddr) -> Self {
        Self {
            signal,
            errno: 0,
            code,
            detail: Detail::Fault { addr },
        }
    }

    /// The 128 bytes that user code sees, as sixteen little-endian words.
    pub fn to_words(self) -> [u64; 16] {
        let pair = |low: i32, high: u32| u64::from(low as u32) | u64::from(high) << 32;
        let mut words = [0; 16];
        words[0] = pair(i32::from(self.signal.raw()), self.errno as u32);
        words[1] = u64::from(self.code as u32);
        match self.detail {
            Detail::None => {}
            Detail::Sender { pid, uid } => words[2] = pair(pid.raw(), uid),
            Detail::Timer { id, overrun, value } => {
                words[2] = pair(id, overrun as u32);
                words[3] = value;
            }
            Detail::Child {
                pid,
                uid,
                status,
                utime,
                stime,
            } => {
                words[2] = pair(pid.raw(), uid);
                words[3] = u64::from(status as u32);
                words[4] = utime as u64;
                words[5] = stime as u64;
            }
            Detail::Fault { addr } => words[2] = addr.raw(),
            Detail::Poll { band, fd } => {
                words[2] = band as u64;
                words[3] = u64::from(fd as u32);
            }
            Detail::Raw(rest) => words[2..].copy_from_slice(&rest),
        }
        words
    }

    /// What user code handed to `rt_sigqueueinfo`, as `signal`.
    pub fn from_words(signal: Signal, words: &[u64; 16]) -> Self {
        let mut rest = [0; 14];
        rest.copy_from_slice(&words[2..]);
        Self {
            signal,
            errno: (words[0] >> 32) as i32,
            code: words[1] as i32,
            detail: Detail::Raw(rest),
        }
    }

    /// The sending process and its user, where the kind has them.
    pub fn sender(&self) -> (Pid, u32) {
        let word = self.to_words()[2];
        match self.detail {
            Detail::Sender { .. } | Detail::Child { .. } | Detail::Raw(_) => {
                (Pid::new(word as u32 as i32), (word >> 32) as u32)
            }
            Detail::None | Detail::Timer { .. } | Detail::Fault { .. } | Detail::Poll { .. } => {
                (Pid::NONE, 0)
            }
        }
    }
}
