//! Which frame numbers are RAM.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{Pfn, PfnRange};

use crate::ram::Table;

/// One range of RAM, written once.
#[derive(Debug, Default)]
pub(crate) struct PresentRange {
    start: AtomicU64,
    end: AtomicU64,
}

impl PresentRange {
    #[inline]
    fn get(&self) -> PfnRange {
        let number = |of: &AtomicU64| Pfn::new(of.load(Ordering::Relaxed));
        PfnRange::new(number(&self.start), number(&self.end))
    }
}

/// The ranges of RAM, and where in it this crate keeps its tables.
#[derive(Debug)]
pub(crate) struct Present {
    ranges: Table<PresentRange>,
    tables: PfnRange,
    nodes: u8,
}

impl Present {
    /// `ranges` ascending and apart, as many as the table has room for.
    pub(crate) fn new(
        table: Table<PresentRange>,
        ranges: impl Iterator<Item = PfnRange>,
        tables: PfnRange,
        nodes: u8,
    ) -> Self {
        for (slot, range) in table.iter().zip(ranges) {
            slot.start.store(range.start.raw(), Ordering::Relaxed);
            slot.end.store(range.end.raw(), Ordering::Relaxed);
        }
        Self {
            ranges: table,
            tables,
            nodes,
        }
    }

    pub(crate) fn ranges(&self) -> impl DoubleEndedIterator<Item = PfnRange> {
        self.ranges.iter().map(PresentRange::get)
    }

    #[inline]
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        let after = self
            .ranges
            .partition_point(|range| range.start.load(Ordering::Relaxed) <= pfn.raw());
        after
            .checked_sub(1)
            .is_some_and(|at| self.ranges[at].get().contains(pfn))
    }

    /// The frames of this crate's tables.
    pub(crate) fn tables(&self) -> PfnRange {
        self.tables
    }

    #[inline]
    pub(crate) fn is_table(&self, pfn: Pfn) -> bool {
        self.tables.contains(pfn)
    }

    #[inline]
    pub(crate) fn nodes(&self) -> u8 {
        self.nodes
    }
}
