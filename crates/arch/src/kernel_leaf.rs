//! Leaves of the kernel's own mappings.

use foliant_units::Pfn;

use crate::format::Format;
use crate::level::Level;

/// How memory behind a mapping is cached.
///
/// # Linux source concept
/// `enum page_cache_mode`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum CacheMode {
    /// Write-back: ordinary memory.
    #[default]
    WriteBack,
    /// Write-combining: frame buffers.
    WriteCombining,
    /// Uncached, unless the range registers say write-combining.
    UncachedMinus,
    /// Uncached: device registers.
    Uncached,
    /// Write-through.
    WriteThrough,
    /// Write-protected.
    WriteProtected,
}

impl CacheMode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WriteBack,
        Self::WriteCombining,
        Self::UncachedMinus,
        Self::Uncached,
        Self::WriteThrough,
        Self::WriteProtected,
    ];
}

/// What the kernel may do with a mapping of its own. No program may use it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KernelProt {
    /// Whether it may write.
    pub write: bool,
    /// Whether it may execute.
    pub execute: bool,
    /// Whether the translation survives a change of address space.
    pub global: bool,
    /// How the memory is cached.
    pub cache: CacheMode,
}

impl KernelProt {
    /// Data (`PAGE_KERNEL`).
    pub const DATA: Self = Self {
        write: true,
        execute: false,
        global: true,
        cache: CacheMode::WriteBack,
    };
    /// Data that does not change (`PAGE_KERNEL_RO`).
    pub const READ_ONLY: Self = Self {
        write: false,
        ..Self::DATA
    };
    /// Code (`PAGE_KERNEL_ROX`).
    pub const CODE: Self = Self {
        execute: true,
        ..Self::READ_ONLY
    };
    /// Code that is still written to (`PAGE_KERNEL_EXEC`).
    pub const WRITABLE_CODE: Self = Self {
        execute: true,
        ..Self::DATA
    };

    /// Device memory (`PAGE_KERNEL_IO` with a cache mode).
    pub const fn io(cache: CacheMode) -> Self {
        Self { cache, ..Self::DATA }
    }
}

/// A format that a kernel maps its own memory with.
pub trait KernelFormat: Format {
    /// Bits of the largest physical address that an entry has room for.
    const PHYSICAL_BITS: u32 = 52;

    /// The entry of `level` that maps `frame`, and those after it if the level
    /// is above the leaf level, for the kernel alone. It is accessed and, if
    /// writable, dirty from the start, so that a walk has nothing to note.
    fn kernel_leaf(frame: Pfn, level: Level, prot: KernelProt) -> Self::Entry;

    /// How a present leaf of `level` has its memory cached.
    fn cache_mode(leaf: Self::Entry, level: Level) -> CacheMode;
}
