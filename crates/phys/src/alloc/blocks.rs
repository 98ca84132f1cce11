//! All blocks of a machine: taking free folios out of their lines and putting
//! them back.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::{Order, Pfn, PfnRange};

use super::entry::{Batch, Entry};
use super::hints::{Hints, map_of};
use super::kind::BlockKind;
use super::line::{BLOCK, DoubleFree, Line};
use super::request::Mobility;
use super::tag::{Claim, Level, Tag};
use super::whole::Whole;
use crate::mutant::{Mutant, is_on};
use crate::ram::Table;
use crate::sectioned::Sectioned;
use crate::sections::SECTION_SHIFT;
use crate::zone::Zone;

/// The block of a frame.
#[inline]
pub(crate) const fn block_of(pfn: Pfn) -> usize {
    (pfn.raw() >> 9) as usize
}

/// The place of a frame in its block.
#[inline]
pub(crate) const fn place_of(pfn: Pfn) -> usize {
    pfn.raw() as usize % BLOCK
}

/// The frame at a place of a block.
pub(crate) const fn frame_at(block: usize, place: usize) -> Pfn {
    Pfn::new((block * BLOCK + place) as u64)
}

/// One line for each block of the sections that have RAM.
pub(crate) type Lines = Sectioned<Line, { SECTION_SHIFT - 9 }>;

/// The state of all blocks up to the end of the memory that can be.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) lines: Lines,
    /// Frames that were used since RAM was zeroed, or since they were given back
    /// zeroed.
    pub(crate) used: Lines,
    pub(crate) tags: Table<Tag>,
    pub(crate) hints: Hints,
    /// Blocks of mobilities that are free from end to end.
    pub(crate) whole: Whole,
    /// Whether `used` means anything.
    pub(crate) ram_was_zeroed: bool,
}

impl Blocks {
    /// Takes up to `want` folios of at most block size from a block. The
    /// caller holds its claim.
    pub(crate) fn take(&self, _: &Claim<'_>, block: usize, order: Order, want: u32, into: &mut Batch) {
        self.lines[block].claim(order, want, |word, mask, mut starts| {
            let used = match self.ram_was_zeroed {
                true if order.raw() <= 6 => self.used[block].mark_word(word, mask),
                true => u64::from(!self.used[block].mark(word * 64, order)) * u64::MAX,
                false => u64::MAX,
            };
            if order == Order::ZERO {
                return into.push_frames(frame_at(block, word * 64), mask, used);
            }
            while starts != 0 {
                let bit = starts.trailing_zeros();
                // Every frame of the folio must be unused.
                let folio = used >> bit & (u64::MAX >> (64 - order.frames().min(64)));
                let pfn = frame_at(block, word * 64 + bit as usize);
                into.push(Entry::new(pfn, folio == 0));
                starts &= starts - 1;
            }
        });
    }

    /// Takes exactly these frames of one block, or none and says which place is
    /// not free. The caller holds the claim.
    pub(crate) fn take_exactly(&self, _: &Claim<'_>, frames: PfnRange) -> Result<(), usize> {
        let block = block_of(frames.start);
        let places = place_of(frames.start)..place_of(frames.start) + frames.len() as usize;
        self.lines[block].claim_exactly(places.clone())?;
        if self.ram_was_zeroed {
            places.for_each(|place| {
                self.used[block].mark(place, Order::ZERO);
            });
        }
        Ok(())
    }

    /// Puts folios of one order back into their lines. Runs that share a word
    /// go back in one step.
    pub(crate) fn put(&self, zone: &Zone, entries: &[Entry], order: Order, mut bad: impl FnMut(Pfn)) {
        if order == Order::ZERO {
            let mut left = entries;
            while let Some(first) = left.first() {
                let word = first.pfn().raw() / 64;
                let run = left.iter().take_while(|next| next.pfn().raw() / 64 == word);
                let (mut mask, mut zeroed, mut len) = (0u64, 0u64, 0);
                for entry in run {
                    let place = entry.pfn().raw() % 64;
                    mask |= 1 << place;
                    zeroed |= u64::from(entry.is_fresh()) << place;
                    len += 1;
                }
                let (run, rest) = left.split_at(len);
                if zeroed != 0 && self.ram_was_zeroed {
                    self.used[block_of(first.pfn())].unmark_word(place_of(first.pfn()) / 64, zeroed);
                }
                self.put_frames(zone, run, mask, &mut bad);
                left = rest;
            }
            return;
        }
        for entry in entries {
            if order == Order::PMD {
                return self.put_blocks(zone, entries, bad);
            } else if order > Order::PMD {
                let half = Entry::new(entry.pfn() + BLOCK as u64, false);
                self.put_blocks(zone, &[*entry, half], &mut bad);
            } else {
                self.put_folio(zone, entry.pfn(), order)
                    .unwrap_or_else(|DoubleFree| bad(entry.pfn()));
            }
        }
    }

    /// Puts one folio of at most a block back into its line.
    pub(crate) fn put_folio(&self, zone: &Zone, pfn: Pfn, order: Order) -> Result<(), DoubleFree> {
        let result = self.lines[block_of(pfn)].free(place_of(pfn), order);
        self.refresh(zone, block_of(pfn));
        result
    }

    /// Frames that all lie in one word, which are the bits of `mask`.
    fn put_frames(&self, zone: &Zone, run: &[Entry], mask: u64, bad: &mut impl FnMut(Pfn)) {
        let block = block_of(run[0].pfn());
        let word = place_of(run[0].pfn()) / 64;
        if run.len() > 1 && mask.count_ones() as usize != run.len() {
            let seen = |at: usize| run[..at].iter().any(|before| before.pfn() == run[at].pfn());
            (0..run.len())
                .filter(|&at| seen(at))
                .for_each(|at| bad(run[at].pfn()));
        }
        match self.lines[block].free_mask(word, mask) {
            Ok(true) => self.refresh(zone, block),
            // Not worth looking at the whole line for: hints may lag.
            Ok(false) => {}
            Err(DoubleFree) => bad(run[0].pfn()),
        }
    }

    /// Moves a block to the map that fits its fullness; one that is whole to the
    /// map of those, unless someone claims it, who then does that. Interrupts are
    /// masked.
    pub(crate) fn refresh(&self, zone: &Zone, block: usize) {
        let tag = &self.tags[block];
        let (old, mut new) = (tag.level(), Level::of(self.lines[block].count()));
        if old == Level::Current {
            return;
        }
        if new == Level::Whole && !tag.is_closed() {
            if let Some(claim) = tag.try_claim() {
                return self.gather(&claim, zone, block);
            }
            new = Level::High;
        }
        if old != new {
            self.move_level(zone, block, old, new);
        }
    }

    /// Moves a block from one level to another, unless someone else was faster.
    pub(crate) fn move_level(&self, zone: &Zone, block: usize, old: Level, new: Level) -> bool {
        let tag = &self.tags[block];
        let kind = tag.kind();
        let moved = tag.move_level(old, new);
        if moved {
            self.hints
                .shift(zone, block, map_of(kind, old), map_of(kind, new));
        }
        moved
    }

    /// Gives a block to a mobility. The caller holds its claim.
    pub(crate) fn retag(&self, _: &Claim<'_>, zone: &Zone, block: usize, mobility: Mobility) {
        let tag = &self.tags[block];
        let before = tag.kind();
        if before != BlockKind::Of(mobility) && before.mobility().is_some() {
            let level = tag.set_mobility(mobility);
            let (from, to) = (map_of(before, level), map_of(tag.kind(), level));
            self.hints.shift(zone, block, from, to);
        }
    }

    /// Makes a block the one that `current` names, hidden from others.
    pub(crate) fn adopt_current(&self, zone: &Zone, block: usize, current: &AtomicU32) {
        let level = self.tags[block].level();
        if level != Level::Current && self.move_level(zone, block, level, Level::Current) {
            current.store(block as u32 + 1, Ordering::Relaxed);
        }
    }

    /// Shows the block that `current` names to others again.
    pub(crate) fn release_current(&self, zone: &Zone, current: &AtomicU32) {
        let Some(block) = current.load(Ordering::Relaxed).checked_sub(1) else {
            return;
        };
        current.store(0, Ordering::Relaxed);
        let level = Level::of(self.lines[block as usize].count()).min(Level::High);
        self.move_level(zone, block as usize, Level::Current, level);
        // Frames may have come back in between, unseen because of the level.
        self.refresh(zone, block as usize);
    }

    /// Repeats the hint to a block, after a change of its kind or when it was
    /// found without one.
    pub(crate) fn rehint(&self, zone: &Zone, block: usize) {
        let tag = &self.tags[block];
        self.hints
            .shift(zone, block, None, map_of(tag.kind(), tag.level()));
    }

    /// Gives blocks to a contiguous area if all of their frames are free;
    /// whether they were. `rekind` changes the kind of a block under its claim.
    ///
    /// They are closed before they are looked at: a frame that was taken before
    /// and comes back after would be counted as the area's a second time.
    pub(crate) fn make_area(
        &self,
        blocks: Range<usize>,
        rekind: impl Fn(usize, &dyn Fn(&Tag) -> bool) -> bool,
    ) -> bool {
        let close = |&block: &usize| is_on(Mutant::AreaOpen) || rekind(block, &Tag::isolate);
        let closed = blocks.clone().take_while(close).count();
        let free = closed == blocks.len() && blocks.clone().all(|block| self.is_whole(block));
        for block in blocks.take(closed) {
            rekind(block, &|tag| {
                if free {
                    tag.set_cma();
                }
                if !is_on(Mutant::AreaOpen) {
                    tag.unisolate();
                }
                true
            });
        }
        free
    }

    /// Changes the kind of a block by `change`, under its claim.
    pub(crate) fn rekind<R>(
        &self,
        claim: &Claim<'_>,
        zone: &Zone,
        block: usize,
        change: impl FnOnce(&Tag) -> R,
    ) -> R {
        let tag = &self.tags[block];
        let before = map_of(tag.kind(), tag.level());
        let result = change(tag);
        self.hints.shift(zone, block, before, None);
        self.rehint(zone, block);
        // After the change, so that whoever gives the block back sees it.
        if !tag.is_closed() {
            self.gather(claim, zone, block);
        } else if self.open_up(claim, zone, block) {
            self.refresh(zone, block);
        }
        result
    }
}
