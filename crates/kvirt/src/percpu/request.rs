//! What is asked for, and what is given.

use foliant_phys::Effort;
use foliant_units::{Errno, VirtAddr};

use crate::vmalloc::VmallocError;

/// Which part of the chunks to take from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum From {
    /// What is left of the first chunk, and all others.
    #[default]
    Dynamic,
    /// The reserved part of the first chunk: near the static variables, for
    /// those of modules (`__alloc_reserved_percpu()`).
    Reserved,
}

/// A request for memory on every CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PerCpuRequest {
    /// Bytes on each CPU.
    pub size: u64,
    /// A power of two, at most a page.
    pub align: u64,
    /// Where from.
    pub from: From,
    /// Whether the caller may wait for a new chunk. If it may not, only what
    /// there is can be given; see [`balance`](super::PerCpu::balance).
    pub effort: Effort,
}

impl PerCpuRequest {
    /// `size` bytes, aligned like words.
    pub const fn new(size: u64) -> Self {
        Self {
            size,
            align: 8,
            from: From::Dynamic,
            effort: Effort::MayReclaim,
        }
    }

    /// The same at multiples of `align`.
    pub const fn align(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// The same without waiting (`GFP_ATOMIC`).
    pub const fn atomic(self) -> Self {
        Self {
            effort: Effort::Atomic,
            ..self
        }
    }

    /// The same from the reserved part.
    pub const fn reserved(self) -> Self {
        Self {
            from: From::Reserved,
            ..self
        }
    }
}

/// A variable that every CPU has a copy of: the address is that of CPU 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PerCpuPtr(pub(crate) VirtAddr);

/// What the first chunk is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FirstChunk<'a> {
    /// What the static variables are at first, on every CPU.
    pub image: &'a [u8],
    /// Bytes for the static variables of modules (`PERCPU_MODULE_RESERVE`).
    pub reserved: u64,
    /// Bytes for allocations at least (`PERCPU_DYNAMIC_RESERVE`).
    pub dynamic: u64,
}

/// Why there is no memory, or it cannot be given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PerCpuError {
    /// The size is zero or more than a unit has, or the alignment is no power
    /// of two or more than a page.
    Illegal,
    /// There is no room in what there is, and the caller cannot wait or asked
    /// for the reserved part.
    NoRoom,
    /// A new chunk was needed.
    NoChunk(VmallocError),
    /// Nothing was allocated there.
    NotAllocated,
}

impl PerCpuError {
    /// What a system call returns.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Illegal | Self::NotAllocated => Errno::INVAL,
            Self::NoRoom => Errno::NOMEM,
            Self::NoChunk(error) => error.errno(),
        }
    }
}

impl core::fmt::Display for PerCpuError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Illegal => f.write_str("illegal size or align for percpu allocation"),
            Self::NoRoom => f.write_str("no room in the chunks there are"),
            Self::NoChunk(error) => write!(f, "no new chunk: {error}"),
            Self::NotAllocated => f.write_str("freeing percpu memory that was not allocated"),
        }
    }
}

impl core::error::Error for PerCpuError {}
