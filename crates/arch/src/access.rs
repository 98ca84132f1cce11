//! What a processor asks of the tables, and how it complains.

use bitflags::bitflags;
use foliant_units::VirtAddr;

/// What is done with the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store, or a read-modify-write.
    Write,
    /// An instruction fetch.
    Execute,
}

/// On whose behalf.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// The program (CPL 3).
    User,
    /// The kernel (CPL 0 to 2).
    Supervisor,
}

/// One access to one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Access {
    /// What is done.
    pub kind: AccessKind,
    /// On whose behalf.
    pub mode: Mode,
}

impl Access {
    /// A program's access.
    pub const fn user(kind: AccessKind) -> Self {
        Self {
            kind,
            mode: Mode::User,
        }
    }

    /// The kernel's access.
    pub const fn supervisor(kind: AccessKind) -> Self {
        Self {
            kind,
            mode: Mode::Supervisor,
        }
    }
}

bitflags! {
    /// The error code that x86 pushes for a page fault; other formats
    /// translate their own syndrome into it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct ErrorCode: u32 {
        /// The entry was there and forbade the access; clear: no entry.
        const PROTECTION = 1 << 0;
        /// The access was a write.
        const WRITE = 1 << 1;
        /// The access came from user mode.
        const USER = 1 << 2;
        /// An entry had a reserved bit set.
        const RESERVED = 1 << 3;
        /// The access was an instruction fetch (only told where NX or SMEP are on).
        const FETCH = 1 << 4;
        /// The protection key forbade the access.
        const KEY = 1 << 5;
        /// The access was to a shadow stack.
        const SHADOW_STACK = 1 << 6;
    }
}

/// A page fault as the processor reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageFault {
    /// The faulting address (CR2).
    pub at: VirtAddr,
    /// The error code.
    pub code: ErrorCode,
}

/// Why an address was not translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A page fault, which the memory manager may resolve.
    Page(PageFault),
    /// The address is not canonical: a general protection fault.
    NonCanonical(VirtAddr),
}
