//! What lies in RAM when a kernel starts.

use foliant_units::{PhysAddr, PhysRange};

/// Where the boot loader put the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelImage {
    /// Code.
    pub text: PhysRange,
    /// Constants.
    pub rodata: PhysRange,
    /// Variables.
    pub data: PhysRange,
    /// What is given back after boot.
    pub init: PhysRange,
    /// Variables that start as zero.
    pub bss: PhysRange,
}

impl KernelImage {
    /// An image of usual proportions with `bytes` bytes from `start`; `None` if
    /// that passes the address space.
    pub fn sized(start: PhysAddr, bytes: u64) -> Option<Self> {
        let all = PhysRange::sized(start, bytes)?;
        let edge =
            |sixteenths: u64| all.start + (bytes / 16 * sixteenths).next_multiple_of(1 << 12).min(bytes);
        let part = |from, to| PhysRange::new(edge(from), edge(to));
        Some(Self {
            text: part(0, 8),
            rodata: part(8, 11),
            data: part(11, 13),
            init: part(13, 15),
            bss: PhysRange::new(edge(15), all.end),
        })
    }

    /// From the first byte to the last.
    pub fn all(&self) -> PhysRange {
        let parts = [self.text, self.rodata, self.data, self.init, self.bss];
        let start = parts.iter().map(|part| part.start).min();
        let end = parts.iter().map(|part| part.end).max();
        PhysRange::new(start.unwrap_or(PhysAddr::ZERO), end.unwrap_or(PhysAddr::ZERO))
    }
}

/// A place for the kernel that runs when this one has died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrashKernel {
    /// Bytes.
    pub size: u64,
    /// Where, if it must be there.
    pub at: Option<PhysAddr>,
}
