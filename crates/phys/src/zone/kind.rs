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
    /// The rest.
    #[default]
    Normal,
    /// Only folios that can be moved.
    Movable,
}

/// How many kinds there are.
pub const ZONE_KINDS: usize = 4;

impl ZoneKind {
    /// All of them, lowest first.
    pub const ALL: [Self; ZONE_KINDS] = [Self::Dma, Self::Dma32, Self::Normal, Self::Movable];

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
            Self::Movable => "Movable",
        }
    }

    /// The kind of a frame on x86-64, where memory from `movable` up was set aside.
    pub(crate) fn of(pfn: Pfn, movable: Pfn) -> Self {
        const DMA_END: u64 = 16 << (20 - 12);
        const DMA32_END: u64 = 4 << (30 - 12);
        match pfn.raw() {
            raw if raw >= movable.raw() => Self::Movable,
            raw if raw < DMA_END => Self::Dma,
            raw if raw < DMA32_END => Self::Dma32,
            _ => Self::Normal,
        }
    }
}
