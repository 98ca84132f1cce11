//! What is taken of one chunk, in granules.

use alloc::boxed::Box;

use core::ops::Range;

/// Bytes of a granule (`PCPU_MIN_ALLOC_SIZE`).
pub(crate) const GRANULE: u64 = 4;

/// A bit for each granule that is taken, and one where an allocation begins.
///
/// The hints are bounds: nothing is free below `first_free`, and no run is
/// longer than `longest`. They are corrected when a search finds them wrong.
#[derive(Debug)]
pub(crate) struct ChunkMap {
    taken: Box<[u64]>,
    begins: Box<[u64]>,
    len: usize,
    free: usize,
    first_free: usize,
    longest: usize,
}

fn get(words: &[u64], at: usize) -> bool {
    words[at / 64] >> (at % 64) & 1 != 0
}

/// Sets or clears a run of bits, a word at a time.
fn put(words: &mut [u64], range: Range<usize>, value: bool) {
    let mut at = range.start;
    while at < range.end {
        let bits = (64 - at % 64).min(range.end - at);
        let mask = (u64::MAX >> (64 - bits)) << (at % 64);
        if value {
            words[at / 64] |= mask;
        } else {
            words[at / 64] &= !mask;
        }
        at += bits;
    }
}

impl ChunkMap {
    /// A map of `len` granules, all taken but `free`.
    pub(crate) fn new(len: usize, free: Range<usize>) -> Self {
        let words = len.div_ceil(64);
        let mut map = Self {
            taken: (0..words).map(|_| 0).collect(),
            begins: (0..words).map(|_| 0).collect(),
            len,
            free: free.len(),
            first_free: free.start,
            longest: free.len(),
        };
        put(&mut map.taken, 0..free.start, true);
        put(&mut map.taken, free.end..len, true);
        map
    }

    /// Free granules.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// No run of free granules is longer.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Takes the first `count` granules that are free and aligned.
    pub(crate) fn take(&mut self, count: usize, align: usize) -> Option<usize> {
        if count > self.longest {
            return None;
        }
        let mut longest = 0;
        let mut at = self.next(self.first_free, false);
        self.first_free = at;
        while at < self.len {
            let end = self.next(at, true);
            let start = at.next_multiple_of(align);
            if start + count <= end {
                self.mark(start, count);
                return Some(start);
            }
            longest = longest.max(end - at);
            at = self.next(end, false);
        }
        // The search has seen every run.
        self.longest = longest;
        None
    }

    /// Gives back the allocation that begins at `start`; how many granules it had.
    pub(crate) fn give(&mut self, start: usize) -> Option<usize> {
        if start >= self.len || !get(&self.begins, start) {
            return None;
        }
        let end = self.end_of(start);
        put(&mut self.taken, start..end, false);
        put(&mut self.begins, start..start + 1, false);
        self.free += end - start;
        self.first_free = self.first_free.min(start);
        let before = self.run_before(start);
        let after = self.next(start, true);
        self.longest = self.longest.max(after - before);
        Some(end - start)
    }

    fn mark(&mut self, start: usize, count: usize) {
        put(&mut self.taken, start..start + count, true);
        put(&mut self.begins, start..start + 1, true);
        self.free -= count;
        if start == self.first_free {
            self.first_free = start + count;
        }
    }

    /// Where the allocation that begins at `start` ends: where the next begins,
    /// or something is free.
    fn end_of(&self, start: usize) -> usize {
        let free = self.next(start, false);
        let next = (start + 1..free).find(|&at| get(&self.begins, at));
        next.unwrap_or(free)
    }

    /// The first granule of the free run that `at` is in.
    fn run_before(&self, mut at: usize) -> usize {
        while at > 0 && !get(&self.taken, at - 1) {
            at -= 1;
        }
        at
    }

    /// The first granule from `at` on that is taken, or that is not.
    fn next(&self, mut at: usize, taken: bool) -> usize {
        while at < self.len {
            let word = self.taken[at / 64] >> (at % 64);
            let same = if taken { word } else { !word };
            let skip = same.trailing_zeros() as usize;
            if skip < 64 - at % 64 {
                return (at + skip).min(self.len);
            }
            at += 64 - at % 64;
        }
        self.len
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn neighbours_are_told_apart() {
        let mut map = ChunkMap::new(256, 10..200);
        let parts: Vec<usize> = (0..4).map(|_| map.take(7, 1).unwrap()).collect();
        assert_eq!(parts, [10, 17, 24, 31]);
        assert_eq!(map.give(17), Some(7));
        assert_eq!(map.give(17), None);
        assert_eq!(map.give(25), None);
        assert_eq!(map.take(8, 1), Some(38));
        assert_eq!(map.take(3, 1), Some(17));
        assert_eq!(map.give(10), Some(7));
    }

    #[test]
    fn random_requests_agree_with_a_list_of_bits() {
        const LEN: usize = 300;
        let mut map = ChunkMap::new(LEN, 0..LEN);
        let mut bits = vec![false; LEN];
        let mut held: Vec<(usize, usize)> = Vec::new();
        let mut seed = 3u64;
        for _ in 0..30_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (seed >> 33) as usize;
            if number.is_multiple_of(2) {
                let (count, align) = (1 + number / 2 % 30, 1 << (number / 64 % 5));
                let fits = |at: &usize| (*at..*at + count).all(|at| !bits[at]);
                let expected = (0..=LEN - count).step_by(align).find(fits);
                assert_eq!(map.take(count, align), expected);
                if let Some(start) = expected {
                    bits[start..start + count].fill(true);
                    held.push((start, count));
                }
            } else if !held.is_empty() {
                let (start, count) = held.swap_remove(number / 2 % held.len());
                assert_eq!(map.give(start), Some(count));
                bits[start..start + count].fill(false);
            }
            assert_eq!(map.free(), bits.iter().filter(|&&bit| !bit).count());
        }
    }
}
