//! Where to look for free frames.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use super::kind::BlockKind;
use super::tag::Level;
use crate::mutant::{Mutant, is_on};
use crate::ram::Table;
use crate::zone::Zone;

/// How many maps there are: four levels for each mobility, and five levels each
/// of contiguous areas and of what is set aside for atomic requests.
pub(crate) const HINT_MAPS: usize = 22;

/// One word of a map: 64 blocks.
#[derive(Debug, Default)]
pub(crate) struct HintWord(AtomicU64);

/// Which map a block of this kind and level stands in.
pub(crate) fn map_of(kind: BlockKind, level: Level) -> Option<usize> {
    const AREAS: usize = 12;
    const SET_ASIDE: usize = AREAS + 5;
    let step = level as usize - Level::Dust.min(level) as usize;
    match (kind, level) {
        (_, Level::Full | Level::Current) | (BlockKind::Isolated, _) => None,
        (BlockKind::Cma, _) => Some(AREAS + step),
        (BlockKind::HighAtomic, _) => Some(SET_ASIDE + step),
        // These have a map of their own, which is no hint.
        (BlockKind::Of(_), Level::Whole) => None,
        (BlockKind::Of(mobility), _) => Some(mobility.index() * 4 + step),
    }
}

/// The maps of blocks that are whole, besides those of some mobility.
pub(crate) fn whole_maps() -> [Option<usize>; 2] {
    let kinds = [BlockKind::Cma, BlockKind::HighAtomic];
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
