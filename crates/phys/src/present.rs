//! Which frame numbers are RAM.

use foliant_units::{Pfn, PfnRange};

use crate::boot::MAP_ENTRIES;

/// The ranges of RAM, and where in it this crate keeps its tables.
#[derive(Debug)]
pub(crate) struct Present {
    ranges: [PfnRange; MAP_ENTRIES],
    len: usize,
    tables: PfnRange,
    nodes: u8,
}

impl Present {
    /// `ranges` ascending and apart.
    pub(crate) fn new(ranges: impl Iterator<Item = PfnRange>, tables: PfnRange, nodes: u8) -> Self {
        let none = PfnRange::new(Pfn::ZERO, Pfn::ZERO);
        let mut present = Self {
            ranges: [none; MAP_ENTRIES],
            len: 0,
            tables,
            nodes,
        };
        for (slot, range) in present.ranges.iter_mut().zip(ranges) {
            *slot = range;
            present.len += 1;
        }
        present
    }

    pub(crate) fn ranges(&self) -> &[PfnRange] {
        &self.ranges[..self.len]
    }

    #[inline]
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        let after = self.ranges().partition_point(|range| range.start <= pfn);
        after
            .checked_sub(1)
            .is_some_and(|at| self.ranges[at].contains(pfn))
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
