//! Many areas as few ranges.

use alloc::vec::Vec;

use foliant_units::VpnRange;

/// Ranges that one flush names.
const RANGES: usize = 16;

/// The pages of one flush.
///
/// Areas of one CPU lie side by side, so sorting and joining leaves few
/// ranges; of more than a flush takes, those with the smallest gaps are joined.
#[derive(Debug)]
pub(crate) struct FlushList {
    ranges: Vec<VpnRange>,
    sorted: bool,
}

impl FlushList {
    pub(crate) fn new() -> Self {
        Self {
            ranges: Vec::new(),
            sorted: true,
        }
    }

    pub(crate) fn add(&mut self, pages: VpnRange) {
        match self.ranges.last_mut() {
            Some(last) if last.end == pages.start => last.end = pages.end,
            _ => {
                self.ranges.push(pages);
                self.sorted = false;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The pages, in ascending ranges, few of them.
    pub(crate) fn ranges(&mut self) -> &[VpnRange] {
        if !self.sorted {
            self.ranges.sort_unstable_by_key(|range| range.start);
            self.join(0);
            self.join_down_to_limit();
            self.sorted = true;
        }
        &self.ranges
    }

    /// Joins neighbours with at most `gap` pages between them.
    fn join(&mut self, gap: u64) {
        self.ranges.dedup_by(|after, before| {
            let joins = after.start.raw() <= before.end.raw().saturating_add(gap);
            if joins {
                before.end = before.end.max(after.end);
            }
            joins
        });
    }

    fn join_down_to_limit(&mut self) {
        if self.ranges.len() <= RANGES {
            return;
        }
        let mut gaps: Vec<u64> = self
            .ranges
            .windows(2)
            .map(|pair| pair[1].start - pair[0].end)
            .collect();
        gaps.sort_unstable_by(|one, other| other.cmp(one));
        // All but the largest gaps are closed; equal ones with them.
        self.join(gaps[RANGES - 1]);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use foliant_units::Vpn;

    use super::*;

    fn range(start: u64, end: u64) -> VpnRange {
        VpnRange::new(Vpn::new(start), Vpn::new(end))
    }

    #[test]
    fn neighbours_are_flushed_as_one() {
        let mut list = FlushList::new();
        for at in [30, 10, 20, 50] {
            list.add(range(at, at + 10));
        }
        assert_eq!(list.ranges(), [range(10, 40), range(50, 60)]);
    }

    #[test]
    fn the_largest_gaps_stay_when_there_are_too_many() {
        let mut list = FlushList::new();
        for at in 0..40u64 {
            list.add(range(at * 3, at * 3 + 1));
        }
        list.add(range(1 << 30, (1 << 30) + 1));
        assert_eq!(
            list.ranges(),
            [range(0, 39 * 3 + 1), range(1 << 30, (1 << 30) + 1)]
        );
    }
}
