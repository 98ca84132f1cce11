//! The bit line of a block: which of its 512 frames are free.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::Order;

use crate::mutant::{Mutant, is_on, ordering};

/// Frames in a block (a pageblock): 2 MiB.
pub(crate) const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 64;

/// The order of a block.
const WHOLE: u8 = 9;

/// One bit a frame, set while the frame is free; exactly one cache line.
///
/// Anybody may set bits, at any time: that is freeing. Bits are cleared only by
/// the one who holds the block's claim (see [`Tag`](super::tag::Tag)), so what
/// a claimant sees set stays set until it clears it itself, and multi-word
/// claims need no retries.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line([AtomicU64; WORDS]);

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == 64, "one cache line per block");

/// A frame was free already when it was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DoubleFree;

impl Line {
    /// Sets the bits of a folio that starts at frame `at` of the block.
    pub(crate) fn free(&self, at: usize, order: Order) -> Result<(), DoubleFree> {
        let mut result = Ok(());
        each_word(at, order, |word, mask| {
            let freed = match mask {
                u64::MAX => self.free_word(word),
                _ => self.free_mask(word, mask).map(drop),
            };
            result = result.and(freed);
        });
        result
    }

    /// Sets all bits of one word. All of its frames are the caller's, so nobody
    /// else may change the word meanwhile, and a plain store will do: an eighth
    /// of the price for a whole block.
    fn free_word(&self, word: usize) -> Result<(), DoubleFree> {
        let before = self.0[word].load(Ordering::Relaxed);
        // Release: as in `free_mask`.
        self.0[word].store(u64::MAX, ordering(Mutant::FreeRelaxed, Ordering::Release));
        if before == 0 { Ok(()) } else { Err(DoubleFree) }
    }

    /// Sets some bits of one word. Tells whether it is worth looking at the whole
    /// line again: the word was empty or is full now, or it is one free in
    /// sixteen (which costs less than to count).
    pub(crate) fn free_mask(&self, word: usize, mask: u64) -> Result<bool, DoubleFree> {
        // Release: the claimant must see the frame as its last user left it.
        let before = self.0[word].fetch_or(mask, ordering(Mutant::FreeRelaxed, Ordering::Release));
        if before & mask != 0 {
            return Err(DoubleFree);
        }
        const ONE_IN_SIXTEEN: u64 = 0x0001_0001_0001_0001;
        Ok(before == 0 || before | mask == u64::MAX || mask & ONE_IN_SIXTEEN != 0)
    }

    /// Clears up to `want` free folios of `order`, lowest first, and calls
    /// `taken(word, cleared bits, bits at which folios start)`; for folios larger
    /// than a word, with the first of its words. The caller holds the block's claim.
    pub(crate) fn claim(&self, order: Order, want: u32, mut taken: impl FnMut(usize, u64, u64)) {
        match order.raw() {
            0..=6 => self.claim_in_words(order, want, taken),
            raw => {
                let words = WORDS >> (WHOLE - raw.min(WHOLE));
                let mut left = want;
                for first in (0..WORDS).step_by(words) {
                    let run = &self.0[first..first + words];
                    if left > 0 && run.iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX) {
                        run.iter().for_each(clear_word);
                        left -= 1;
                        taken(first, u64::MAX, 1);
                    }
                }
            }
        }
    }

    /// Clears the line if all of its frames are free. The caller holds the claim.
    pub(crate) fn claim_whole(&self) -> bool {
        // Acquire: as in `clear_word`.
        let right = ordering(Mutant::ClaimRelaxed, Ordering::Acquire);
        let whole = self.0.iter().all(|word| word.load(right) == u64::MAX);
        if whole {
            // Plain stores, as in `clear_word`. Release: who finds nothing here and
            // does not hold the claim sees that somebody does.
            self.0.iter().for_each(|word| word.store(0, Ordering::Release));
        }
        whole
    }

    /// Marks all frames, as [`mark`](Self::mark), and tells whether none was.
    pub(crate) fn mark_whole(&self) -> bool {
        if self.is_whole() {
            return false;
        }
        let all_new = self.is_used_up();
        self.0
            .iter()
            .for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        all_new
    }

    fn claim_in_words(&self, order: Order, want: u32, mut taken: impl FnMut(usize, u64, u64)) {
        let mut left = want;
        for (at, word) in self.0.iter().enumerate() {
            if left == 0 {
                return;
            }
            let now = word.load(Ordering::Relaxed);
            if order == Order::ZERO && now.count_ones() <= left {
                if now != 0 {
                    left -= now.count_ones();
                    clear(word, now);
                    taken(at, now, now);
                }
                continue;
            }
            let mut starts = run_starts(now, order);
            let (mut mask, mut picked) = (0, starts);
            while starts != 0 && left > 0 {
                mask |= run(starts.trailing_zeros(), order);
                starts &= starts - 1;
                left -= 1;
            }
            picked &= !starts;
            if mask == 0 {
                continue;
            }
            clear(word, mask);
            taken(at, mask, picked);
        }
    }

    /// Clears exactly these bits, or none and says which was clear. The caller
    /// holds the block's claim.
    pub(crate) fn claim_exactly(&self, places: Range<usize>) -> Result<(), usize> {
        if let Some(taken) = places.clone().find(|&place| !self.is_free(place)) {
            return Err(taken);
        }
        for word in places.start / 64..places.end.div_ceil(64) {
            let from = places.start.max(word * 64) - word * 64;
            let end = places.end.min(word * 64 + 64) - word * 64;
            clear(&self.0[word], u64::MAX >> (64 - (end - from)) << from);
        }
        Ok(())
    }

    /// Marks frames in another line of the same block (those never used yet),
    /// and tells which of them were not marked. The caller holds the claim.
    pub(crate) fn mark(&self, at: usize, order: Order) -> bool {
        let mut all_new = true;
        each_word(at, order, |word, mask| {
            let before = self.0[word].load(Ordering::Relaxed);
            all_new &= before & mask == 0;
            self.0[word].store(before | mask, Ordering::Relaxed);
        });
        all_new
    }

    /// Marks some frames of one word, as [`mark`](Self::mark), and tells which
    /// of them were marked before.
    pub(crate) fn mark_word(&self, word: usize, mask: u64) -> u64 {
        let before = self.0[word].load(Ordering::Relaxed);
        if before & mask != mask {
            self.0[word].store(before | mask, Ordering::Relaxed);
        }
        before & mask
    }

    /// Takes marks of one word back. The caller has not freed these frames yet,
    /// so no claimant marks them; one that marks others at this moment may mark
    /// these again, which says less than is known and nothing wrong.
    pub(crate) fn unmark_word(&self, word: usize, mask: u64) {
        self.0[word].fetch_and(!mask, Ordering::Relaxed);
    }

    /// How many frames are free.
    pub(crate) fn count(&self) -> u32 {
        self.0
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_ones())
            .sum()
    }

    /// Whether all frames are free.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX)
    }

    /// Whether a folio of `order` is free.
    pub(crate) fn has(&self, order: Order) -> bool {
        let full = |word: &AtomicU64| word.load(Ordering::Relaxed) == u64::MAX;
        match order.raw() {
            0..=6 => self
                .0
                .iter()
                .any(|word| run_starts(word.load(Ordering::Relaxed), order) != 0),
            raw => self
                .0
                .chunks(WORDS >> (WHOLE - raw.min(WHOLE)))
                .any(|run| run.iter().all(full)),
        }
    }

    /// Whether no frame is free.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Whether the frame at `at` is free.
    pub(crate) fn is_free(&self, at: usize) -> bool {
        self.0[at / 64].load(Ordering::Relaxed) >> (at % 64) & 1 == 1
    }

    /// Adds to `counts` the free folios of each order below a whole block,
    /// each as large as alignment allows; a whole block counts as one of order 9.
    pub(crate) fn tally(&self, counts: &mut [u64; 11]) {
        let words: [u64; WORDS] = core::array::from_fn(|at| self.0[at].load(Ordering::Relaxed));
        let mut full = [false; WORDS];
        for (at, &word) in words.iter().enumerate() {
            full[at] = word == u64::MAX;
            if !full[at] {
                tally_word(word, counts);
            }
        }
        tally_runs(&full, counts);
    }
}

/// Clears bits that the caller, who holds the claim, saw set.
fn clear(word: &AtomicU64, mask: u64) {
    if is_on(Mutant::ClaimStores) {
        let now = word.load(Ordering::Acquire);
        word.store(now & !mask, Ordering::Relaxed);
        return;
    }
    // Acquire: pairs with the release of `free_mask`.
    let before = word.fetch_and(!mask, ordering(Mutant::ClaimRelaxed, Ordering::Acquire));
    debug_assert_eq!(before & mask, mask, "a claimed bit was cleared by another");
}

/// Clears a word that the caller, who holds the claim, saw full: while nobody
/// has any of its frames nobody can free one, so a plain store will do.
fn clear_word(word: &AtomicU64) {
    // Acquire: pairs with the release of every free that filled the word.
    let before = word.load(ordering(Mutant::ClaimRelaxed, Ordering::Acquire));
    debug_assert_eq!(before, u64::MAX, "a claimed bit was cleared by another");
    word.store(0, Ordering::Relaxed);
}

/// Counts the aligned free runs of a word that is not all free.
fn tally_word(word: u64, counts: &mut [u64; 11]) {
    let mut left = word;
    for raw in (0..6).rev() {
        let Some(order) = Order::new(raw) else { continue };
        let mut starts = run_starts(left, order);
        counts[order.index()] += u64::from(starts.count_ones());
        while starts != 0 {
            left &= !run(starts.trailing_zeros(), order);
            starts &= starts - 1;
        }
    }
}

/// Counts the aligned runs of full words: orders 6 to 9.
fn tally_runs(full: &[bool], counts: &mut [u64; 11]) {
    if full.iter().all(|&word| word) {
        counts[6 + full.len().trailing_zeros() as usize] += 1;
    } else if full.len() > 1 {
        let (low, high) = full.split_at(full.len() / 2);
        tally_runs(low, counts);
        tally_runs(high, counts);
    }
}

/// Calls `visit(word, mask)` for the words of the folio at `at`.
fn each_word(at: usize, order: Order, mut visit: impl FnMut(usize, u64)) {
    if order.raw() < 6 {
        visit(at / 64, run((at % 64) as u32, order));
        return;
    }
    let words = (order.frames() as usize / 64).min(WORDS);
    for word in at / 64..at / 64 + words {
        visit(word, u64::MAX);
    }
}

/// The bits of a folio of at most 64 frames that starts at `bit`.
const fn run(bit: u32, order: Order) -> u64 {
    (u64::MAX >> (64 - order.frames())) << bit
}

/// The bits of `word` at which an aligned run of set bits of `order` starts.
fn run_starts(word: u64, order: Order) -> u64 {
    const ALIGNED: [u64; 7] = [
        u64::MAX,
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0000_0001_0000_0001,
        1,
    ];
    let mut both = word;
    for step in 0..order.raw() {
        both &= both >> (1 << step);
    }
    both & ALIGNED[order.index()]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std_alloc::vec::Vec;

    fn order(raw: u8) -> Order {
        Order::new(raw).unwrap_or_default()
    }

    fn claim(line: &Line, raw: u8, want: u32) -> Vec<usize> {
        let mut places = Vec::new();
        line.claim(order(raw), want, |word, _, starts| {
            places.extend(
                (0..64)
                    .filter(|bit| starts >> bit & 1 == 1)
                    .map(|bit| word * 64 + bit),
            );
        });
        places
    }

    #[test]
    fn frames_come_ascending_and_word_by_word() {
        let line = Line::default();
        line.free(0, order(9)).unwrap();
        assert_eq!(claim(&line, 0, 70), (0..70).collect::<Vec<_>>());
        assert_eq!(line.count(), 512 - 70);
        assert_eq!(claim(&line, 2, 1), [72]);
        assert_eq!(claim(&line, 8, 2), [256]);
    }

    #[test]
    fn freeing_a_free_frame_is_noticed() {
        let line = Line::default();
        line.free(8, order(3)).unwrap();
        assert_eq!(line.free(15, order(0)), Err(DoubleFree));
        assert_eq!(line.free(16, order(0)), Ok(()));
    }

    #[test]
    fn only_aligned_runs_are_claimed() {
        let line = Line::default();
        line.free_mask(0, 0b0111_1110).unwrap();
        assert_eq!(claim(&line, 2, 9), []);
        assert_eq!(claim(&line, 1, 9), [2, 4]);
        assert_eq!(claim(&line, 0, 9), [1, 6]);
    }

    #[test]
    fn a_tally_finds_the_largest_aligned_runs() {
        let line = Line::default();
        let mut counts = [0; 11];
        line.free(0, order(8)).unwrap();
        line.free(256, order(6)).unwrap();
        line.free_mask(5, 0b1110).unwrap();
        line.tally(&mut counts);
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0]);
        line.claim(order(0), 512, |_, _, _| ());
        line.free(0, order(9)).unwrap();
        let mut counts = [0; 11];
        line.tally(&mut counts);
        assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn every_order_can_be_claimed_until_nothing_is_left() {
        for raw in 0..=9 {
            let line = Line::default();
            line.free(0, order(9)).unwrap();
            let places = claim(&line, raw, 1000);
            let expected: Vec<usize> = (0..512).step_by(1 << raw).collect();
            assert_eq!(places, expected);
            assert_eq!(line.count(), 0);
        }
    }
}
