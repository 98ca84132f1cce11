//! Where to look for free frames.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use super::kind::BlockKind;
use super::request::Mobility;
use super::tag::Level;
use crate::mutant::{Mutant, is_on};
use crate::ram::Table;
use crate::zone::Zone;

/// How many maps there are: four levels for each mobility, one of whole blocks,
/// and five levels each of contiguous areas and of
/// what is set aside for atomic requests.
pub(crate) const HINT_MAPS: usize = 23;

/// One word of a map: 64 blocks.
#[derive(Debug, Default)]
pub(crate) struct HintWord(AtomicU64);

/// Which map a block of this kind and level stands in.
pub(crate) fn map_of(kind: BlockKind, level: Level) -> Option<usize> {
    const WHOLE: usize = 12;
    let step = level as usize - Level::Dust.min(level) as usize;
    match (kind, level) {
        (_, Level::Full | Level::Current) | (BlockKind::Isolated, _) => None,
        (BlockKind::Cma, _) => Some(WHOLE + 1 + step),
        (BlockKind::HighAtomic, _) => Some(WHOLE + 6 + step),
        (BlockKind::Of(_), Level::Whole) => Some(WHOLE),
        (BlockKind::Of(mobility), _) => Some(mobility.index() * 4 + step),
    }
}

/// The maps of blocks that are whole.
pub(crate) fn whole_maps() -> [Option<usize>; 3] {
    // The mobility makes no difference.
    let kinds = [
        BlockKind::Of(Mobility::Movable),
        BlockKind::Cma,
        BlockKind::HighAtomic,
    ];
    kinds.map(|kind| map_of(kind, Level::Whole))
}

/// Maps of blocks by mobility and fullness, one bit a block.
///
/// Hints only: a bit may be missing or too many for a moment, and whoever
/// follows one looks at the block itself. Before the allocator gives up it
/// visits every block, so a lost hint costs time and no memory.
#[derive(Debug)]
pub(crate) struct Hints {
    words: Table<HintWord>,
    per_map: usize,
}

impl Hints {
    /// Words needed for `blocks` blocks.
    pub(crate) const fn words(blocks: usize) -> usize {
        blocks.div_ceil(64) * HINT_MAPS
    }

    pub(crate) fn new(words: Table<HintWord>) -> Self {
        let per_map = words.len() / HINT_MAPS;
        Self { words, per_map }
    }

    /// Takes a block out of one map and puts it into another.
    pub(crate) fn shift(&self, zone: &Zone, block: usize, from: Option<usize>, to: Option<usize>) {
        let bit = 1 << (block % 64);
        if let Some(map) = from
            && self.word(map, block).fetch_and(!bit, Ordering::Relaxed) & bit != 0
        {
            zone.hinted[map].fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(map) = to
            && self.set(map, block, bit) & bit == 0
        {
            zone.hinted[map].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Collects blocks that leave a map, or come into it, so that those of one
    /// word are moved in one step.
    pub(crate) fn shifts<'a>(&'a self, zone: &'a Zone, map: usize, come: bool) -> Shifts<'a> {
        Shifts {
            hints: self,
            zone,
            map,
            come,
            first: 0,
            bits: 0,
        }
    }

    /// Puts a run of blocks into a map, at boot.
    pub(crate) fn fill(&self, zone: &Zone, map: usize, blocks: Range<usize>) {
        for block in blocks {
            self.shift(zone, block, None, Some(map));
        }
    }

    /// The first block of a map at or after `from`, inside the zone.
    pub(crate) fn next(&self, zone: &Zone, map: usize, from: usize) -> Option<usize> {
        if zone.hinted[map].load(Ordering::Relaxed) <= 0 {
            return None;
        }
        let end = zone.blocks().end;
        let mut at = from.max(zone.blocks().start);
        while at < end {
            let rest = self.word(map, at).load(Ordering::Relaxed) >> (at % 64);
            if rest != 0 {
                let block = at + rest.trailing_zeros() as usize;
                return (block < end).then_some(block);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// Sets bits of the word that `block` is in; returns what it was.
    fn set(&self, map: usize, block: usize, bits: u64) -> u64 {
        let word = self.word(map, block);
        if is_on(Mutant::HintInTwoSteps) {
            let before = word.load(Ordering::Relaxed);
            word.store(before | bits, Ordering::Relaxed);
            return before;
        }
        word.fetch_or(bits, Ordering::Relaxed)
    }

    fn word(&self, map: usize, block: usize) -> &AtomicU64 {
        &self.words[map * self.per_map + block / 64].0
    }
}

/// Blocks on their way into a map or out of it; what is left is moved when this
/// is dropped.
#[derive(Debug)]
pub(crate) struct Shifts<'a> {
    hints: &'a Hints,
    zone: &'a Zone,
    map: usize,
    come: bool,
    /// The first block of the word.
    first: usize,
    bits: u64,
}

impl Shifts<'_> {
    pub(crate) fn add(&mut self, block: usize) {
        let first = block & !63;
        if first != self.first {
            self.flush();
            self.first = first;
        }
        self.bits |= 1 << (block % 64);
    }

    fn flush(&mut self) {
        let bits = core::mem::take(&mut self.bits);
        if bits == 0 {
            return;
        }
        let hinted = &self.zone.hinted[self.map];
        if self.come {
            let new = bits & !self.hints.set(self.map, self.first, bits);
            hinted.fetch_add(new.count_ones() as i32, Ordering::Relaxed);
        } else {
            let word = self.hints.word(self.map, self.first);
            let gone = bits & word.fetch_and(!bits, Ordering::Relaxed);
            hinted.fetch_sub(gone.count_ones() as i32, Ordering::Relaxed);
        }
    }
}

impl Drop for Shifts<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
