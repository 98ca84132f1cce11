//! What can be decided about a machine's memory at boot.

use super::map::MapError;
use super::memblock::{MemblockError, TooManyRegions};
use crate::zone::{Distances, ZoneLayout};

/// How much of each zone's free memory is kept back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MinFree {
    /// As much as Linux computes from the size of memory.
    #[default]
    Linux,
    /// The same in a kernel with transparent huge pages, which keeps enough
    /// blocks free for mobilities not to mix.
    LinuxWithHugePages,
    /// This many KiB over all zones (`vm.min_free_kbytes`).
    Kib(u64),
}

/// What happens to the bytes of a freed frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Poison {
    /// They stay.
    #[default]
    Off,
    /// They are overwritten, so that use after free is noticed by the user.
    Fill,
    /// They are overwritten, and compared when the frame is given out again.
    Verify,
}

/// What happens when the allocator finds that someone broke its rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnViolation {
    /// It is counted and remembered; the frame is never given out again.
    #[default]
    Record,
    /// Panic: for tests.
    Panic,
}

/// What can be decided about a machine's memory at boot. The default is Linux's.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// Bytes at the start of memory that nobody may use. Frame zero never is.
    pub reserve_low: u64,
    /// Bytes for the Movable zone, taken from the top (`movablecore=`).
    pub movable: u64,
    /// How much free memory is kept back.
    pub min_free: MinFree,
    /// `vm.watermark_scale_factor`, in 1/10000 of a zone.
    pub watermark_scale: u64,
    /// `vm.lowmem_reserve_ratio` of DMA, DMA32, Normal, HighMem; zero turns it off.
    pub reserve_ratio: [u64; 4],
    /// Which zones there are.
    pub zones: ZoneLayout,
    /// How far the nodes are from each other.
    pub distances: Distances,
    /// `vm.watermark_boost_factor`, in 1/10000 of the high watermark; zero turns
    /// it off.
    pub watermark_boost: u64,
    /// The machine's RAM is all zeroes now: frames that were never used need
    /// no clearing, and tables cost nothing until they are used.
    pub ram_is_zeroed: bool,
    /// Memory may be added later below this physical address: there is room for
    /// what is known of it, a few bytes for each MiB. Zero for none.
    pub hotplug_below: u64,
    /// What happens to the bytes of a freed frame.
    pub poison: Poison,
    /// It is remembered who allocated each frame and who freed it
    /// (`page_owner=on`).
    pub page_owner: bool,
    /// What happens when a rule is broken.
    pub on_violation: OnViolation,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            reserve_low: 1 << 20,
            movable: 0,
            min_free: MinFree::Linux,
            watermark_scale: 10,
            reserve_ratio: [256, 256, 32, 0],
            zones: ZoneLayout::X86_64,
            distances: Distances::default(),
            watermark_boost: 15_000,
            ram_is_zeroed: false,
            hotplug_below: 0,
            poison: Poison::Off,
            page_owner: false,
            on_violation: OnViolation::Record,
        }
    }
}

impl BootOptions {
    /// For tests: every frame but the first can be allocated, freed frames are
    /// poisoned and checked, broken rules panic. RAM must be zero.
    pub fn test() -> Self {
        Self {
            reserve_low: 0,
            min_free: MinFree::Kib(0),
            watermark_scale: 0,
            reserve_ratio: [0; 4],
            watermark_boost: 0,
            ram_is_zeroed: true,
            poison: Poison::Verify,
            on_violation: OnViolation::Panic,
            ..Self::default()
        }
    }
}

/// Why a machine does not boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootError {
    /// The memory map has more pieces than the boot allocator can hold.
    MapTooRagged,
    /// There is no usable RAM in the map.
    NoMemory,
    /// There is not enough RAM for the tables that describe it.
    TooSmall,
    /// RAM ends above what 31 bits of frame numbers reach (8 TiB).
    TooHigh,
    /// The map names more nodes than [`MAX_NODES`](crate::MAX_NODES).
    TooManyNodes,
    /// The map has RAM that the machine does not have.
    NotThisRam,
}

impl core::fmt::Display for BootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BootError::MapTooRagged => "the memory map has too many pieces",
            BootError::NoMemory => "the memory map has no usable RAM",
            BootError::TooSmall => "not enough RAM for the memory manager's own tables",
            BootError::TooHigh => "RAM above 8 TiB is not supported",
            BootError::TooManyNodes => "too many NUMA nodes",
            BootError::NotThisRam => "the memory map has RAM that the machine does not have",
        })
    }
}

impl core::error::Error for BootError {}

impl From<MemblockError> for BootError {
    fn from(error: MemblockError) -> Self {
        match error {
            MemblockError::NoRoom => BootError::TooSmall,
            MemblockError::TooManyRegions => BootError::MapTooRagged,
        }
    }
}

impl From<TooManyRegions> for BootError {
    fn from(TooManyRegions: TooManyRegions) -> Self {
        BootError::MapTooRagged
    }
}

impl From<MapError> for BootError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Full | MapError::Wraps | MapError::Truncated => BootError::MapTooRagged,
        }
    }
}
