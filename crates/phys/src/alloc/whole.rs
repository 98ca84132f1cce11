//! Which blocks are free from end to end: one bit each.
//!
//! This is no hint but where such blocks are. While a bit is set, the line of
//! its block is empty, and all of its frames belong to whoever clears the bit;
//! so one instruction takes or gives back up to 64 blocks, and nothing that lies
//! with a single block is touched.
//!
//! Only blocks of a mobility stand here. Somebody may close a block (isolate it,
//! say) at the moment at which another gives it back, so
//!
//! 1. who closes a block changes its tag and then takes the bit out,
//! 2. who set a bit looks at the tag after that, and takes the bit out again if
//!    the block was closed, and
//! 3. who took a bit out looks at the tag after that, and does not use the block
//!    if it was closed.
//!
//! All of them change the same word, one after the other, so whoever comes after
//! the one who closed the block sees it closed.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use crate::mutant::{Mutant, is_on, ordering};
use crate::ram::Table;
use crate::zone::Zone;

/// 64 blocks.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub(crate) struct WholeWord {
    /// Which are free.
    free: AtomicU64,
    /// Of which every frame was used, whatever is said of them elsewhere: the
    /// business of who owns the block.
    stale: AtomicU64,
}

/// Some of the blocks of one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Some64 {
    /// The first block of the word.
    pub(crate) first: usize,
    /// A bit for each.
    pub(crate) bits: u64,
}

impl Some64 {
    pub(crate) const fn one(block: usize) -> Self {
        Self {
            first: block & !63,
            bits: 1 << (block % 64),
        }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.bits == 0
    }

    pub(crate) const fn has(self, block: usize) -> bool {
        self.bits >> (block % 64) & 1 == 1
    }

    /// The blocks, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.bits;
        core::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            Some(self.first + at)
        })
    }
}

/// The whole free blocks of a machine.
#[derive(Debug)]
pub(crate) struct Whole(Table<WholeWord>);

impl Whole {
    /// Words needed for `blocks` blocks.
    pub(crate) const fn words(blocks: usize) -> usize {
        blocks.div_ceil(64)
    }

    pub(crate) const fn new(words: Table<WholeWord>) -> Self {
        Self(words)
    }

    fn word(&self, block: usize) -> &WholeWord {
        &self.0[block / 64]
    }

    /// Whether a block is here.
    pub(crate) fn has(&self, block: usize) -> bool {
        // Acquire: who finds the block gone sees where it went.
        let word = self.0.get(block / 64);
        word.is_some_and(|word| word.free.load(Ordering::Acquire) >> (block % 64) & 1 == 1)
    }

    /// The first word of a range of blocks with some of them, at or after `from`.
    pub(crate) fn next(&self, range: &Range<usize>, from: usize) -> Option<Some64> {
        let mut at = from.max(range.start);
        while at < range.end {
            let first = at & !63;
            let before = u64::MAX << (at - first);
            let after = u64::MAX >> 64usize.saturating_sub(range.end - first).min(63);
            let bits = self.word(at).free.load(Ordering::Relaxed) & before & after;
            if bits != 0 {
                return Some(Some64 { first, bits });
            }
            at = first + 64;
        }
        None
    }

    /// Puts blocks in, all of whose frames are the caller's; returns those that
    /// were here already.
    pub(super) fn put(&self, zone: &Zone, blocks: Some64) -> Some64 {
        // Release: who takes the blocks sees their frames as their last users
        // left them. Acquire: rule 2 above.
        let right = ordering(Mutant::WholePutRelaxed, Ordering::AcqRel);
        let word = &self.word(blocks.first).free;
        let before = match is_on(Mutant::WholePutStores) {
            true => add_in_two_steps(word, blocks.bits),
            false => word.fetch_or(blocks.bits, right),
        };
        let new = blocks.bits & !before;
        zone.whole.fetch_add(new.count_ones() as i32, Ordering::Relaxed);
        Some64 {
            bits: blocks.bits & before,
            ..blocks
        }
    }

    /// Takes blocks out; returns those that were here, which are the caller's now.
    pub(super) fn take(&self, zone: &Zone, blocks: Some64) -> Some64 {
        let word = &self.word(blocks.first).free;
        if is_on(Mutant::WholeTakeStores) {
            let now = word.load(Ordering::Acquire);
            word.store(now & !blocks.bits, Ordering::Release);
            return Some64 {
                bits: blocks.bits & now,
                ..blocks
            };
        }
        // Acquire: pairs with the release of `put`, and rule 3. Release: rule 1.
        let right = ordering(Mutant::WholeTakeRelaxed, Ordering::AcqRel);
        let bits = blocks.bits & word.fetch_and(!blocks.bits, right);
        zone.whole.fetch_sub(bits.count_ones() as i32, Ordering::Relaxed);
        Some64 { bits, ..blocks }
    }

    /// Takes all of these blocks out, or none; whether they were here.
    pub(super) fn take_all(&self, zone: &Zone, blocks: Some64) -> bool {
        let word = &self.word(blocks.first).free;
        let all = |now: u64| (now & blocks.bits == blocks.bits).then_some(now & !blocks.bits);
        let taken = word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, all)
            .is_ok();
        if taken {
            zone.whole
                .fetch_sub(blocks.bits.count_ones() as i32, Ordering::Relaxed);
        }
        taken
    }

    /// Says that every frame of blocks that the caller owns was used; returns
    /// those of which that was known.
    pub(crate) fn mark_stale(&self, blocks: Some64) -> Some64 {
        let word = &self.word(blocks.first).stale;
        let mut stale = word.load(Ordering::Relaxed) & blocks.bits;
        if is_on(Mutant::StaleStores) {
            stale = add_in_two_steps(word, blocks.bits) & blocks.bits;
        } else if stale != blocks.bits {
            stale = word.fetch_or(blocks.bits, Ordering::Relaxed) & blocks.bits;
        }
        Some64 {
            bits: stale,
            ..blocks
        }
    }

    /// Takes back that every frame of a block of the caller's was used; whether
    /// that was said.
    pub(crate) fn forget_stale(&self, block: usize) -> bool {
        let one = Some64::one(block);
        let word = &self.word(block).stale;
        word.load(Ordering::Relaxed) & one.bits != 0
            && word.fetch_and(!one.bits, Ordering::Relaxed) & one.bits != 0
    }
}

/// What no one should do here: a mistake of the models.
fn add_in_two_steps(word: &AtomicU64, bits: u64) -> u64 {
    let before = word.load(Ordering::Acquire);
    word.store(before | bits, Ordering::Release);
    before
}
