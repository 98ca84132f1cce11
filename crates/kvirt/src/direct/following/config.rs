//! Where a direct map lies, and how far it reaches.

use foliant_arch::Level;
use foliant_arch::layout::{I386, X86_64Bases};
use foliant_units::{PAGE_SIZE, Pfn, VirtAddr};

/// What becomes of memory above the end of the direct map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Above {
    /// It is high memory, which is shown in windows
    /// ([`kmap`](crate::kmap)) when it is used.
    HighMemory,
    /// There is none: it is refused.
    Refused,
}

/// What a [`FollowingMap`](super::FollowingMap) is to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FollowingConfig {
    /// Where frame zero is shown (`page_offset_base`).
    pub base: VirtAddr,
    /// The first frame that there is no room for.
    pub end: Pfn,
    /// What becomes of memory from there on.
    pub above: Above,
    /// The largest pages that the processor knows.
    pub largest: Level,
    /// Where the record of frame zero is shown, if records are
    /// (`vmemmap_base`).
    pub records: Option<VirtAddr>,
}

impl FollowingConfig {
    /// A direct map at `base` with room for the frames below `end`, of pages as
    /// large as the format has, without records.
    pub const fn new(base: VirtAddr, end: Pfn) -> Self {
        Self {
            base,
            end,
            above: Above::Refused,
            largest: Level::PUD,
            records: None,
        }
    }

    /// All of memory, and the records of its frames, in Linux's places.
    pub const fn x86_64(bases: &X86_64Bases) -> Self {
        let room = bases.direct.end.raw() - bases.direct.start.raw();
        Self {
            records: Some(bases.vmemmap.start),
            ..Self::new(bases.direct.start, Pfn::new(room / PAGE_SIZE as u64))
        }
    }

    /// Low memory alone.
    pub const fn i386(layout: &I386) -> Self {
        Self {
            above: Above::HighMemory,
            largest: Level::PMD,
            ..Self::new(layout.virt(foliant_units::PhysAddr::ZERO), layout.max_low_pfn())
        }
    }

    /// The same with pages of at most `largest`.
    pub const fn largest(self, largest: Level) -> Self {
        Self { largest, ..self }
    }

    /// The same, showing records from `at` on.
    pub const fn records_at(self, at: VirtAddr) -> Self {
        Self {
            records: Some(at),
            ..self
        }
    }
}
