//! Free addresses, by place and by size.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foliant_units::{Vpn, VpnRange};

/// Ranges up to this many pages come back as they went, through a stack.
const POOLED_PAGES: usize = 33;
/// Ranges of one size that a stack keeps from being merged.
const POOL_DEPTH: usize = 64;

/// Ranges of pages that nobody has.
///
/// A request takes the lowest of the smallest ranges that are large enough.
/// Small ranges that come back are kept in stacks by size for the next request
/// of that size, and merged with their neighbours only when a stack is full or
/// a request would fail.
///
/// # Linux source concept
/// The free tree of `mm/vmalloc.c` and the pools of its nodes.
#[derive(Debug)]
pub(crate) struct FreeRanges {
    /// Length by start.
    by_start: BTreeMap<Vpn, u64>,
    by_length: BTreeSet<(u64, Vpn)>,
    pools: Vec<Vec<Vpn>>,
    pages: u64,
}

impl FreeRanges {
    pub(crate) fn new() -> Self {
        Self {
            by_start: BTreeMap::new(),
            by_length: BTreeSet::new(),
            pools: (0..=POOLED_PAGES).map(|_| Vec::new()).collect(),
            pages: 0,
        }
    }

    /// Free pages.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Takes `pages` pages whose first is a multiple of `align`.
    pub(crate) fn take(&mut self, pages: u64, align: u64) -> Option<Vpn> {
        if align <= 1
            && let Some(start) = self.pools.get_mut(pages as usize).and_then(Vec::pop)
        {
            self.pages -= pages;
            return Some(start);
        }
        self.take_merged(pages, align).or_else(|| {
            self.merge_pools();
            self.take_merged(pages, align)
        })
    }

    /// Gives pages back that are not free.
    pub(crate) fn give(&mut self, range: VpnRange) {
        self.pages += range.len();
        match self.pools.get_mut(range.len() as usize) {
            Some(pool) if pool.len() < POOL_DEPTH => pool.push(range.start),
            _ => self.merge(range),
        }
    }

    /// Gives pages back that others may want as a part of something larger.
    pub(crate) fn give_merged(&mut self, range: VpnRange) {
        self.pages += range.len();
        self.merge(range);
    }

    /// Takes out every aligned block of `pages` pages that is free as a whole.
    pub(crate) fn take_blocks(&mut self, pages: u64) -> Vec<Vpn> {
        self.merge_pools();
        let mut blocks = Vec::new();
        while let Some(block) = self.take_merged(pages, pages) {
            blocks.push(block);
        }
        blocks
    }

    fn take_merged(&mut self, pages: u64, align: u64) -> Option<Vpn> {
        let align = align.max(1);
        // Any range of this length fits wherever it begins; shorter ones may fit.
        let fits = |&(len, start): &(u64, Vpn)| start.align_up(align) + pages <= start + len;
        let mut candidates = self.by_length.range((pages, Vpn::ZERO)..);
        let (len, start) = *candidates.find(|candidate| fits(candidate))?;
        self.remove(start, len);
        let at = start.align_up(align);
        if at > start {
            self.insert(start, at - start);
        }
        let rest = (start + len) - (at + pages);
        if rest > 0 {
            self.insert(at + pages, rest);
        }
        self.pages -= pages;
        Some(at)
    }

    fn merge_pools(&mut self) {
        for pages in 0..self.pools.len() {
            for start in core::mem::take(&mut self.pools[pages]) {
                self.merge(VpnRange::new(start, start + pages as u64));
            }
        }
    }

    fn merge(&mut self, range: VpnRange) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&before, &len)) = self.by_start.range(..start).next_back() {
            debug_assert!(before + len <= start, "{range:?} is free already");
            if before + len == start {
                self.remove(before, len);
                start = before;
            }
        }
        if let Some((&after, &len)) = self.by_start.range(start..).next() {
            debug_assert!(after >= end, "{range:?} is free already");
            if after == end {
                self.remove(after, len);
                end = after + len;
            }
        }
        self.insert(start, end - start);
    }

    fn insert(&mut self, start: Vpn, len: u64) {
        self.by_start.insert(start, len);
        self.by_length.insert((len, start));
    }

    fn remove(&mut self, start: Vpn, len: u64) {
        self.by_start.remove(&start);
        self.by_length.remove(&(len, start));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ranges(pages: u64) -> FreeRanges {
        let mut free = FreeRanges::new();
        free.give_merged(VpnRange::new(Vpn::new(64), Vpn::new(64 + pages)));
        free
    }

    #[test]
    fn what_comes_back_is_one_range_again() {
        let mut free = ranges(256);
        let parts: Vec<(Vpn, u64)> = (1..=16).map(|len| (free.take(len, 1).unwrap(), len)).collect();
        assert_eq!(free.pages(), 256 - 136);
        for &(start, len) in parts.iter().rev() {
            free.give(VpnRange::new(start, start + len));
        }
        assert_eq!(free.take(256, 1), Some(Vpn::new(64)));
        assert_eq!(free.take(1, 1), None);
    }

    #[test]
    fn a_small_range_is_reused_before_others_are_cut() {
        let mut free = ranges(256);
        let first = free.take(5, 1).unwrap();
        free.give(VpnRange::new(first, first + 5));
        assert_eq!(free.take(5, 1), Some(first));
    }

    #[test]
    fn alignment_leaves_both_ends_free() {
        let mut free = FreeRanges::new();
        free.give_merged(VpnRange::new(Vpn::new(3), Vpn::new(100)));
        assert_eq!(free.take(32, 32), Some(Vpn::new(32)));
        assert_eq!(free.take(29, 1), Some(Vpn::new(3)));
        assert_eq!(free.take(36, 1), Some(Vpn::new(64)));
        assert_eq!(free.pages(), 0);
    }

    #[test]
    fn random_requests_agree_with_a_bitmap() {
        const PAGES: u64 = 512;
        let mut free = FreeRanges::new();
        free.give_merged(VpnRange::new(Vpn::ZERO, Vpn::new(PAGES)));
        let mut taken = [false; PAGES as usize];
        let mut held: Vec<VpnRange> = Vec::new();
        let mut seed = 7u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = seed >> 33;
            if number.is_multiple_of(2) {
                let (pages, align) = (1 + number / 2 % 40, 1 << (number / 97 % 6));
                match free.take(pages, align) {
                    Some(start) => {
                        assert!(start.is_aligned_to(align));
                        for page in start.raw()..start.raw() + pages {
                            assert!(!core::mem::replace(&mut taken[page as usize], true));
                        }
                        held.push(VpnRange::new(start, start + pages));
                    }
                    None => {
                        let fits = |at: u64| (at..at + pages).all(|page| !taken[page as usize]);
                        let mut places = (0..=PAGES - pages).filter(|at| at.is_multiple_of(align));
                        assert!(!places.any(fits), "{pages} pages at {align} were refused");
                    }
                }
            } else if !held.is_empty() {
                let range = held.swap_remove(number as usize / 2 % held.len());
                for page in range.iter() {
                    taken[page.index()] = false;
                }
                free.give(range);
            }
            assert_eq!(free.pages(), taken.iter().filter(|&&taken| !taken).count() as u64);
        }
    }
}
