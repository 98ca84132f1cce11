//! Kinds of zones and their place in the physical address space.

use foliant_units::Pfn;

/// Who can use the memory of a zone; ordered from the most to the least precious.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum ZoneKind {
    /// Below 16 MiB: ISA devices.
    Dma,
    /// Below 4 GiB: devices with 32-bit addresses.
    Dma32,
    /// The rest, as far as the kernel maps it always.
    #[default]
    Normal,
    /// What a 32-bit kernel maps only when needed.
    HighMem,
    /// Only folios that can be moved.
    Movable,
    /// Memory of devices: has records, and is never given out.
    Device,
}

/// How many kinds there are.
pub const ZONE_KINDS: usize = 6;

impl ZoneKind {
    /// All of them, lowest first.
    pub const ALL: [Self; ZONE_KINDS] = [
        Self::Dma,
        Self::Dma32,
        Self::Normal,
        Self::HighMem,
        Self::Movable,
        Self::Device,
    ];

    /// The number as an index into per-kind arrays.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As `/proc/zoneinfo` and `/proc/buddyinfo` print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
            Self::HighMem => "HighMem",
            Self::Movable => "Movable",
            Self::Device => "Device",
        }
    }

    /// Whether the kernel's own data can lie there, so that its size counts
    /// for what is kept back.
    pub const fn is_low(self) -> bool {
        matches!(self, Self::Dma | Self::Dma32 | Self::Normal)
    }
}

/// Which kinds an architecture has, and where they end.
///
/// # Linux source concept
/// `max_zone_pfns` in `free_area_init()`'s callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZoneLayout {
    /// DMA below 16 MiB, DMA32 below 4 GiB, Normal; with Movable and Device.
    #[default]
    X86_64,
    /// DMA below 16 MiB, Normal below this frame, HighMem; with Movable.
    I386 {
        /// The first frame that is not always mapped (`max_low_pfn`).
        highmem: Pfn,
    },
}

impl ZoneLayout {
    /// The kinds that such a machine has, with or without memory in them.
    pub const fn kinds(self) -> &'static [ZoneKind] {
        use ZoneKind::{Device, Dma, Dma32, HighMem, Movable, Normal};
        match self {
            Self::X86_64 => &[Dma, Dma32, Normal, Movable, Device],
            Self::I386 { .. } => &[Dma, Normal, HighMem, Movable],
        }
    }

    /// The kind of a frame where memory from `movable` up was set aside.
    pub(crate) fn kind_of(self, pfn: Pfn, movable: Pfn) -> ZoneKind {
        const DMA_END: u64 = 16 << (20 - 12);
        const DMA32_END: u64 = 4 << (30 - 12);
        if pfn >= movable {
            return ZoneKind::Movable;
        }
        match self {
            _ if pfn.raw() < DMA_END => ZoneKind::Dma,
            Self::X86_64 if pfn.raw() < DMA32_END => ZoneKind::Dma32,
            Self::I386 { highmem } if pfn >= highmem => ZoneKind::HighMem,
            Self::X86_64 | Self::I386 { .. } => ZoneKind::Normal,
        }
    }
}
