//! Why a program does not run.

use foliant_kernel::exec::BootError;
use foliant_phys::BootError as MemoryError;
use foliant_units::Errno;
use thiserror::Error;

use super::memory::PlanError;
use crate::host::StartError;

/// Why a program does not run.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RunError {
    /// The memory asked for makes no machine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The host does not carry a machine.
    #[error(transparent)]
    Host(#[from] StartError),
    /// The memory manager cannot work with so little.
    #[error("{0}")]
    Memory(MemoryError),
    /// Not a frame is left for what the memory manager itself needs.
    #[error("not enough RAM for the machine itself")]
    NoFrames,
    /// The limit of the first thread's stack, in KiB, is too low.
    #[error("a stack of {0} KiB is too small for the machine itself; allow 512 KiB or more (ulimit -s)")]
    Stack(u64),
    /// `/proc` is not there, or another's.
    #[error("the user machine needs /proc: {0}; mount it (mount -t proc proc /proc)")]
    NoProc(String),
    /// The host's files cannot be reached.
    #[error("the host's files: {}{}", text(*.0), advice(*.0))]
    Files(Errno),
    /// What `execve` would have answered.
    #[error("{}", text(*.0))]
    Exec(Errno),
    /// The program was found, but cannot be mapped.
    #[error("the program cannot be mapped: {}", text(*.0))]
    Unmappable(Errno),
    /// There is no room for a task.
    #[error("the first task: {}", text(*.0))]
    Task(Errno),
}

fn text(errno: Errno) -> &'static str {
    errno.text().unwrap_or("unknown error")
}

/// What helps where the host's files are out of reach.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE => "; allow more open files (ulimit -n)",
        Errno::AGAIN => "; allow more processes (ulimit -u) or memory (ulimit -d, -v)",
        Errno::PERM | Errno::NOSYS => "; in a container, its seccomp profile must allow epoll and eventfd",
        _ => "",
    }
}

impl From<BootError> for RunError {
    fn from(error: BootError) -> Self {
        match error {
            BootError::Exec(errno) => Self::Exec(errno),
            BootError::Unmappable(errno) => Self::Unmappable(errno),
            BootError::Machine(errno) => Self::Task(errno),
        }
    }
}

impl From<MemoryError> for RunError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}
