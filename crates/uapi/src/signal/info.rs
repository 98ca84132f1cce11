//! Why a signal was sent: `siginfo_t`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Signal;

/// The `si_code` values that Foliant raises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct SiCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SiCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*
        }
    };
}

codes! {
    /// `kill(2)`.
    USER = 0;
    /// Raised by the kernel.
    KERNEL = 0x80;
    /// `sigqueue(3)`.
    QUEUE = -1;
    /// A POSIX timer.
    TIMER = -2;
    /// A message queue.
    MESGQ = -3;
    /// Asynchronous I/O.
    ASYNCIO = -4;
    /// Queued `SIGIO`.
    SIGIO = -5;
    /// `tkill(2)`, `tgkill(2)`.
    TKILL = -6;
    /// `SIGSEGV`: nothing is mapped there.
    SEGV_MAPERR = 1;
    /// `SIGSEGV`: mapped, but not with this right.
    SEGV_ACCERR = 2;
    /// `SIGSEGV`: denied by a protection key.
    SEGV_PKUERR = 4;
    /// `SIGBUS`: misaligned.
    BUS_ADRALN = 1;
    /// `SIGBUS`: nothing behind the address.
    BUS_ADRERR = 2;
    /// `SIGBUS`: hardware error, action required.
    BUS_MCEERR_AR = 4;
    /// `SIGILL`: illegal operand.
    ILL_ILLOPN = 2;
    /// `SIGFPE`: integer division by zero.
    FPE_INTDIV = 1;
    /// `SIGFPE`: integer overflow.
    FPE_INTOVF = 2;
    /// `SIGFPE`: floating-point division by zero.
    FPE_FLTDIV = 3;
    /// `SIGFPE`: floating-point overflow.
    FPE_FLTOVF = 4;
    /// `SIGFPE`: floating-point underflow.
    FPE_FLTUND = 5;
    /// `SIGFPE`: inexact result.
    FPE_FLTRES = 6;
    /// `SIGFPE`: invalid operation.
    FPE_FLTINV = 7;
    /// `SIGTRAP`: breakpoint.
    TRAP_BRKPT = 1;
    /// `SIGTRAP`: trace trap.
    TRAP_TRACE = 2;
    /// `SIGCHLD`: exited.
    CLD_EXITED = 1;
    /// `SIGCHLD`: killed.
    CLD_KILLED = 2;
    /// `SIGCHLD`: killed with a core dump.
    CLD_DUMPED = 3;
    /// `SIGCHLD`: trapped.
    CLD_TRAPPED = 4;
    /// `SIGCHLD`: stopped.
    CLD_STOPPED = 5;
    /// `SIGCHLD`: continued.
    CLD_CONTINUED = 6;
    /// `SIGSYS`: by seccomp.
    SYS_SECCOMP = 1;
    /// `SIGSYS`: by user dispatch.
    SYS_USER_DISPATCH = 2;
}

/// `siginfo_t`: 128 bytes, a head of three words and a union of which the
/// constructors fill what the kernel fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    /// Signal number.
    pub signo: i32,
    /// Rarely used.
    pub errno: i32,
    /// Why: [`SiCode`].
    pub code: i32,
    /// Padding.
    pub pad: i32,
    /// The union, as words.
    pub fields: [u64; 14],
}

/// Two 32-bit fields that share a word.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SigInfo {
    fn head(signal: Signal, code: SiCode) -> Self {
        Self {
            signo: i32::from(signal.raw()),
            code: code.0,
            ..Self::default()
        }
    }

    /// From `kill`, `tkill` or the kernel on behalf of a process.
    pub fn sent(signal: Signal, code: SiCode, pid: u32, uid: u32) -> Self {
        let mut info = Self::head(signal, code);
        info.fields[0] = pair(pid, uid);
        info
    }

    /// Raised by the kernel without a cause to name (`SI_KERNEL`).
    pub fn kernel(signal: Signal) -> Self {
        Self::head(signal, SiCode::KERNEL)
    }

    /// Caused by an access or an instruction at `addr`.
    pub fn fault(signal: Signal, code: SiCode, addr: u64) -> Self {
        let mut info = Self::head(signal, code);
        info.fields[0] = addr;
        info
    }

    /// A child changed state; `status` is its exit code or signal.
    /// Times are in clock ticks of 10 ms.
    pub fn child(code: SiCode, pid: u32, uid: u32, status: i32, utime: u64, stime: u64) -> Self {
        let mut info = Self::head(Signal::CHLD, code);
        info.fields[0] = pair(pid, uid);
        info.fields[1] = pair(status as u32, 0);
        info.fields[2] = utime;
        info.fields[3] = stime;
        info
    }

    /// A POSIX timer expired.
    pub fn timer(signal: Signal, timer: u32, overrun: u32, value: u64) -> Self {
        let mut info = Self::head(signal, SiCode::TIMER);
        info.fields[0] = pair(timer, overrun);
        info.fields[1] = value;
        info
    }

    /// A descriptor became ready (`band` as in `poll(2)`).
    pub fn io(signal: Signal, code: SiCode, band: u64, fd: i32) -> Self {
        let mut info = Self::head(signal, code);
        info.fields[0] = band;
        info.fields[1] = pair(fd as u32, 0);
        info
    }

    /// A system call was refused: where, which, and on what architecture.
    pub fn syscall(code: SiCode, addr: u64, nr: u32, arch: u32) -> Self {
        let mut info = Self::head(Signal::SYS, code);
        info.fields[0] = addr;
        info.fields[1] = pair(nr, arch);
        info
    }

    /// Sender's process id, where there is one.
    pub const fn pid(&self) -> u32 {
        self.fields[0] as u32
    }

    /// Sender's user id, where there is one.
    pub const fn uid(&self) -> u32 {
        (self.fields[0] >> 32) as u32
    }

    /// A child's exit code or signal.
    pub const fn status(&self) -> i32 {
        self.fields[1] as u32 as i32
    }

    /// The address of a fault.
    pub const fn addr(&self) -> u64 {
        self.fields[0]
    }

    /// The value sent with `sigqueue` or by a timer.
    pub const fn value(&self) -> u64 {
        self.fields[1]
    }
}

const _: () = assert!(size_of::<SigInfo>() == 128);
