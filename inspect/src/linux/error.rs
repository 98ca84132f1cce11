//! What can be missing in a kernel.

use foliant_units::VirtAddr;
use thiserror::Error;

/// Why a kernel cannot be understood.
#[derive(Debug, Error)]
pub enum LinuxError {
    /// The image has no VMCOREINFO.
    #[error("the image has no VMCOREINFO: say with --root where tables are")]
    NoVmcoreinfo,
    /// VMCOREINFO lacks a line.
    #[error("VMCOREINFO has no {0}")]
    NoLine(&'static str),
    /// A symbol is not in the kernel's table.
    #[error("the kernel has no symbol {0}")]
    NoSymbol(&'static str),
    /// The kernel has no BTF, or not of this type.
    #[error("the kernel's own type information (BTF) has no {0}")]
    NoType(&'static str),
    /// Kernel memory is not there.
    #[error("nothing is mapped at {:#x}", .0.raw())]
    NotMapped(VirtAddr),
    /// A list or table of the kernel is damaged.
    #[error("the kernel's {0} make no sense")]
    Nonsense(&'static str),
    /// Nobody has this number.
    #[error("no process {0}")]
    NoProcess(u32),
    /// A kernel thread has no space of its own.
    #[error("process {0} is a thread of the kernel and has no tables of its own")]
    NoSpace(u32),
}
