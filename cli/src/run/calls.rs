//! How a system call is shown: its name and as many arguments as it has.

use foliant_kernel::Task;
use foliant_uapi::Sysno;
use foliant_units::VirtAddr;
use foliant_user::User;

/// Most bytes of a path that are shown.
const PATH: usize = 80;

/// How an argument is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arg {
    /// A small number, perhaps negative.
    Number,
    /// Flags, addresses.
    Hex,
    /// A path.
    Path,
    /// An address and a length: shown as numbers.
    Length,
}
use Arg::{Hex, Length, Number, Path};

/// The shapes of calls, those first that nearly every program makes.
const SHAPES: &[(&[Sysno], &[Arg])] = &[
    (
        &[Sysno::READ, Sysno::WRITE, Sysno::GETDENTS64],
        &[Number, Hex, Length],
    ),
    (&[Sysno::PREAD64, Sysno::PWRITE64], &[Number, Hex, Length, Length]),
    (&[Sysno::OPENAT], &[Number, Path, Hex, Hex]),
    (&[Sysno::OPEN], &[Path, Hex, Hex]),
    (
        &[
            Sysno::CLOSE,
            Sysno::DUP,
            Sysno::FSYNC,
            Sysno::FDATASYNC,
            Sysno::EXIT,
            Sysno::EXIT_GROUP,
            Sysno::UMASK,
        ],
        &[Number],
    ),
    (&[Sysno::STAT, Sysno::LSTAT, Sysno::STATFS], &[Path, Hex]),
    (
        &[Sysno::ACCESS, Sysno::MKDIR, Sysno::CHMOD, Sysno::TRUNCATE],
        &[Path, Hex],
    ),
    (&[Sysno::CHDIR, Sysno::UNLINK, Sysno::RMDIR], &[Path]),
    (&[Sysno::RENAME, Sysno::LINK, Sysno::SYMLINK], &[Path, Path]),
    (&[Sysno::READLINK], &[Path, Hex, Length]),
    (&[Sysno::READLINKAT], &[Number, Path, Hex, Length]),
    (&[Sysno::NEWFSTATAT], &[Number, Path, Hex, Hex]),
    (
        &[
            Sysno::FACCESSAT,
            Sysno::FACCESSAT2,
            Sysno::UNLINKAT,
            Sysno::MKDIRAT,
        ],
        &[Number, Path, Hex],
    ),
    (&[Sysno::STATX], &[Number, Path, Hex, Hex, Hex]),
    (&[Sysno::EXECVE], &[Path, Hex, Hex]),
    (&[Sysno::EXECVEAT], &[Number, Path, Hex, Hex, Hex]),
    (&[Sysno::FSTAT, Sysno::FSTATFS], &[Number, Hex]),
    (&[Sysno::MMAP], &[Hex, Length, Hex, Hex, Number, Hex]),
    (
        &[
            Sysno::MPROTECT,
            Sysno::MADVISE,
            Sysno::MSYNC,
            Sysno::MLOCK2,
            Sysno::MINCORE,
        ],
        &[Hex, Length, Hex],
    ),
    (&[Sysno::MUNMAP, Sysno::MLOCK, Sysno::MUNLOCK], &[Hex, Length]),
    (&[Sysno::MREMAP], &[Hex, Length, Length, Hex, Hex]),
    (
        &[
            Sysno::BRK,
            Sysno::SET_TID_ADDRESS,
            Sysno::TIMES,
            Sysno::UNAME,
            Sysno::SYSINFO,
        ],
        &[Hex],
    ),
    (
        &[Sysno::RT_SIGACTION, Sysno::RT_SIGPROCMASK],
        &[Number, Hex, Hex, Number],
    ),
    (
        &[
            Sysno::KILL,
            Sysno::TKILL,
            Sysno::DUP2,
            Sysno::SETPGID,
            Sysno::LISTEN,
        ],
        &[Number, Number],
    ),
    (
        &[Sysno::TGKILL, Sysno::SOCKET, Sysno::DUP3, Sysno::LSEEK],
        &[Number, Number, Number],
    ),
    (
        &[Sysno::IOCTL, Sysno::FCNTL, Sysno::CONNECT, Sysno::BIND],
        &[Number, Hex, Hex],
    ),
    (&[Sysno::WAIT4], &[Number, Hex, Hex, Hex]),
    (&[Sysno::FUTEX], &[Hex, Hex, Hex, Hex, Hex, Hex]),
    (
        &[
            Sysno::POLL,
            Sysno::NANOSLEEP,
            Sysno::SIGALTSTACK,
            Sysno::PIPE2,
            Sysno::ARCH_PRCTL,
            Sysno::SET_ROBUST_LIST,
            Sysno::CLONE3,
        ],
        &[Hex, Hex, Number],
    ),
    (&[Sysno::GETRANDOM], &[Hex, Length, Hex]),
    (&[Sysno::PRLIMIT64], &[Number, Number, Hex, Hex]),
    (&[Sysno::CLONE], &[Hex, Hex, Hex, Hex, Hex]),
    (
        &[
            Sysno::GETPID,
            Sysno::GETPPID,
            Sysno::GETTID,
            Sysno::GETUID,
            Sysno::GETEUID,
            Sysno::GETGID,
            Sysno::GETEGID,
            Sysno::GETPGRP,
            Sysno::FORK,
            Sysno::VFORK,
            Sysno::PAUSE,
            Sysno::SCHED_YIELD,
            Sysno::RT_SIGRETURN,
            Sysno::SETSID,
            Sysno::SYNC,
        ],
        &[],
    ),
];

/// What a call is shown with that is not listed: three words say most.
const UNKNOWN: &[Arg] = &[Hex, Hex, Hex];

/// Whether nothing follows it in the same task and image.
pub(super) fn never_returns(call: Sysno) -> bool {
    [Sysno::EXIT, Sysno::EXIT_GROUP, Sysno::RT_SIGRETURN].contains(&call)
}

/// `name(argument, argument)`.
pub(super) fn shown(task: &Task<User>, call: Sysno, args: [u64; 6]) -> String {
    let shape = SHAPES
        .iter()
        .find(|(calls, _)| calls.contains(&call))
        .map_or(UNKNOWN, |(_, shape)| *shape);
    let words: Vec<String> = shape
        .iter()
        .zip(args)
        .map(|(kind, value)| argument(task, *kind, value))
        .collect();
    format!("{call}({})", words.join(", "))
}

fn argument(task: &Task<User>, kind: Arg, value: u64) -> String {
    match kind {
        Number => (value as i32).to_string(),
        Length => value.to_string(),
        Hex if value < 10 => value.to_string(),
        Hex => format!("{value:#x}"),
        Path => path(task, value).unwrap_or_else(|| format!("{value:#x}")),
    }
}

/// A path in the program's memory, quoted.
fn path(task: &Task<User>, at: u64) -> Option<String> {
    let space = task.space()?;
    let mut bytes = Vec::new();
    while bytes.len() < PATH {
        let mut byte = [0];
        space
            .copy_in(VirtAddr::new(at.checked_add(bytes.len() as u64)?), &mut byte)
            .ok()?;
        if byte[0] == 0 {
            return Some(format!("{:?}", String::from_utf8_lossy(&bytes)));
        }
        bytes.push(byte[0]);
    }
    Some(format!("{:?}...", String::from_utf8_lossy(&bytes)))
}
