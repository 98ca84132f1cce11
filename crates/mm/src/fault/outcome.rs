//! What comes in to a fault and what goes out.

use foliant_units::{Errno, VirtAddr};

use super::classify::{Access, Refusal};

/// An access that the tables did not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The byte that was accessed first.
    pub addr: VirtAddr,
    /// What was attempted.
    pub access: Access,
    /// Whether the program itself did it, or the kernel for it.
    pub user: bool,
}

/// How a fault was resolved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// The frame of zeroes was mapped for reading.
    ZeroPage,
    /// A fresh anonymous frame was mapped.
    Anonymous,
    /// A frame of an object was mapped, perhaps with neighbours.
    FileRead,
    /// A private copy of an object's frame was mapped.
    FileCopy,
    /// A frame of an object was mapped or made writable for all to see.
    FileWrite,
    /// An anonymous frame was copied because others hold it too.
    CopyOnWrite,
    /// An anonymous frame was made writable because nobody else holds it.
    Reused,
    /// Contents came back from swap.
    SwapIn,
    /// Nothing had to be done.
    Spurious,
}

impl Outcome {
    /// Every outcome, in the order of the reports.
    pub const ALL: [Outcome; 9] = [
        Outcome::ZeroPage,
        Outcome::Anonymous,
        Outcome::FileRead,
        Outcome::FileCopy,
        Outcome::FileWrite,
        Outcome::CopyOnWrite,
        Outcome::Reused,
        Outcome::SwapIn,
        Outcome::Spurious,
    ];

    /// The name that reports print.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::ZeroPage => "zero page",
            Outcome::Anonymous => "anonymous",
            Outcome::FileRead => "file read",
            Outcome::FileCopy => "file copy",
            Outcome::FileWrite => "file write",
            Outcome::CopyOnWrite => "copy-on-write",
            Outcome::Reused => "reused",
            Outcome::SwapIn => "swap in",
            Outcome::Spurious => "spurious",
        }
    }
}

/// Whether a fault had to wait for a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Weight {
    /// Memory alone answered it.
    Minor,
    /// Contents were fetched from a device.
    Major,
}

/// A resolved fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What was done.
    pub outcome: Outcome,
    /// How it counts in `ru_minflt` and `ru_majflt`.
    pub weight: Weight,
}

/// Which part of SIGSEGV a refused access is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Segv {
    /// Nothing is mapped there (`SEGV_MAPERR`).
    MapErr,
    /// Something is, but not for this (`SEGV_ACCERR`).
    AccErr,
}

/// Why a fault could not be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultError {
    /// The address or the access is wrong: SIGSEGV.
    Segv(Segv),
    /// The object has nothing there: SIGBUS with `BUS_ADRERR`.
    Bus,
    /// No frame could be had; the machine must kill somebody and try again.
    OutOfMemory,
}

impl FaultError {
    /// What a system call that touched the address for the program returns.
    ///
    /// Linux's `get_user_pages()` says `-ENOMEM` for an exhausted machine and
    /// `-EFAULT` for everything that would have been a signal.
    pub const fn errno(self) -> Errno {
        match self {
            FaultError::Segv(_) | FaultError::Bus => Errno::FAULT,
            FaultError::OutOfMemory => Errno::NOMEM,
        }
    }
}

impl From<Refusal> for FaultError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rights => FaultError::Segv(Segv::AccErr),
            Refusal::Guard => FaultError::Segv(Segv::MapErr),
            Refusal::Poison => FaultError::Bus,
        }
    }
}
