//! What is asked for, and why there may be none.

use foliant_arch::{CacheMode, KernelProt};
use foliant_phys::{AllocError, AllocRequest, Effort, Fill, NodeChoice, Owner};
use foliant_units::{Errno, PAGE_SIZE};

use crate::caller::Caller;

/// Whether an area may be mapped with large pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LargePages {
    /// Where size and memory allow (`VM_ALLOW_HUGE_VMAP`).
    Allowed,
    /// Base pages only, so that single pages can be treated apart.
    #[default]
    Never,
}

/// A request for memory that is contiguous in kernel addresses only.
///
/// # Linux source concept
/// The arguments of `__vmalloc_node_range()`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VmallocRequest {
    /// Bytes; rounded up to pages.
    pub size: u64,
    /// Alignment of the first byte: a power of two. Less than a page is a page.
    pub align: u64,
    /// What the kernel may do with it.
    pub prot: KernelProt,
    /// Whether it may be mapped with large pages.
    pub large: LargePages,
    /// Zone, node, effort, contents and owner of the frames; the order is ours.
    pub frames: AllocRequest,
    /// Who asks.
    pub caller: Caller,
}

impl VmallocRequest {
    /// `size` bytes of data, on the local node (`vmalloc()`).
    #[track_caller]
    pub const fn new(size: u64) -> Self {
        Self {
            size,
            align: PAGE_SIZE as u64,
            prot: KernelProt::DATA,
            large: LargePages::Never,
            frames: AllocRequest::kernel(Owner::Vmalloc),
            caller: Caller::here(),
        }
    }

    /// The same, zeroed (`vzalloc()`).
    pub const fn zeroed(self) -> Self {
        Self {
            frames: self.frames.zeroed(),
            ..self
        }
    }

    /// The same, with large pages where they fit (`vmalloc_huge()`).
    pub const fn large(self) -> Self {
        Self {
            large: LargePages::Allowed,
            ..self
        }
    }

    /// The same at a multiple of `align`.
    pub const fn align(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// The same with `prot`.
    pub const fn prot(self, prot: KernelProt) -> Self {
        Self { prot, ..self }
    }

    /// The same with `effort`.
    pub const fn effort(self, effort: Effort) -> Self {
        Self {
            frames: self.frames.effort(effort),
            ..self
        }
    }

    /// The same on `node` (`vmalloc_node()`).
    pub const fn node(self, node: NodeChoice) -> Self {
        Self {
            frames: self.frames.node(node),
            ..self
        }
    }

    /// The same for `owner`.
    pub const fn owner(self, owner: Owner) -> Self {
        Self {
            frames: AllocRequest { owner, ..self.frames },
            ..self
        }
    }

    /// The same on behalf of `caller`.
    pub const fn caller(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// Whether the frames are to be zeroed.
    pub const fn is_zeroed(&self) -> bool {
        matches!(self.frames.fill, Fill::Zeroes)
    }
}

/// Why there is no area.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VmallocError {
    /// Nothing was asked for.
    Empty,
    /// More was asked for than there is RAM, or addresses.
    TooLarge,
    /// The alignment is no power of two.
    BadAlign,
    /// The physical range wraps around.
    Wraps,
    /// The physical range is RAM, which has its cache mode already.
    IsRam,
    /// Parts of the physical range are mapped already, and cached in several ways.
    CacheModes,
    /// Some of the physical range is mapped already and cached like this, which
    /// will not do for what was asked for.
    CacheMode(CacheMode),
    /// There is no frame.
    NoFrame(AllocError),
    /// There is no frame for a page table.
    NoTable(AllocError),
    /// All addresses are taken.
    NoAddresses,
}

impl VmallocError {
    /// What a system call returns.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Empty | Self::BadAlign | Self::Wraps | Self::IsRam | Self::CacheMode(_) => Errno::INVAL,
            Self::CacheModes => Errno::BUSY,
            Self::TooLarge | Self::NoAddresses => Errno::NOMEM,
            Self::NoFrame(error) | Self::NoTable(error) => error.errno(),
        }
    }
}

impl core::fmt::Display for VmallocError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing was asked for"),
            Self::TooLarge => f.write_str("more than there can be"),
            Self::BadAlign => f.write_str("alignment is no power of two"),
            Self::Wraps => f.write_str("physical range wraps around"),
            Self::IsRam => f.write_str("physical range is RAM"),
            Self::CacheModes => f.write_str("physical range is mapped and cached in several ways"),
            Self::CacheMode(mode) => write!(f, "physical range is mapped and cached as {mode:?}"),
            Self::NoFrame(error) => write!(f, "no frame: {error}"),
            Self::NoTable(error) => write!(f, "no page table: {error}"),
            Self::NoAddresses => f.write_str("no vmalloc addresses left"),
        }
    }
}

impl core::error::Error for VmallocError {}

/// Why an address cannot be given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadFree {
    /// No area of this kind begins there: it never was one, or it is gone already.
    NoArea,
    /// The length is not that of the mapping.
    BadLength,
}

impl core::fmt::Display for BadFree {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoArea => "trying to free a nonexistent vm area",
            Self::BadLength => "the length is not that of the mapping",
        })
    }
}

impl core::error::Error for BadFree {}
