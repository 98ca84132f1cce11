//! Whole blocks on their way: between the map of them, their lines and callers.

use foliant_units::{Order, Pfn};

use super::blocks::{Blocks, block_of, frame_at};
use super::entry::{Batch, Entry};
use super::line::{BLOCK, DoubleFree};
use super::request::Mobility;
use super::search::Want;
use super::tag::{Claim, Level};
use super::whole::Some64;
use crate::mutant::{Mutant, is_on};
use crate::zone::Zone;

impl Blocks {
    /// Whether all of a block is free.
    pub(crate) fn is_whole(&self, block: usize) -> bool {
        self.whole.has(block) || self.lines[block].is_whole()
    }

    /// How many frames of a block are free.
    pub(crate) fn count(&self, block: usize) -> u32 {
        match self.whole.has(block) {
            true => BLOCK as u32,
            false => self.lines[block].count(),
        }
    }

    /// Adds the free folios of a block to `counts`, as [`Line::tally`](super::line::Line::tally).
    pub(crate) fn tally(&self, block: usize, counts: &mut [u64; 11]) {
        match self.whole.has(block) {
            true => counts[9] += 1,
            false => self.lines[block].tally(counts),
        }
    }

    /// Moves a block that is in the map of whole ones to its line; whether it
    /// was. The caller holds its claim.
    pub(crate) fn open_up(&self, _: &Claim<'_>, zone: &Zone, block: usize) -> bool {
        let was_whole = !self.whole.take(zone, Some64::one(block)).is_empty();
        if was_whole {
            self.spread(block);
        }
        was_whole
    }

    /// Puts a block that is the caller's into its line.
    fn spread(&self, block: usize) {
        if self.whole.forget_stale(block) && self.ram_was_zeroed {
            self.used[block].mark_whole();
        }
        let freed = self.lines[block].free(0, Order::PMD);
        debug_assert!(freed.is_ok(), "block {block} was in two places");
    }

    /// Moves a block from its line to the map of whole ones, if it is whole and
    /// some mobility's. The caller holds its claim.
    pub(crate) fn gather(&self, _: &Claim<'_>, zone: &Zone, block: usize) {
        let tag = &self.tags[block];
        if tag.is_closed() || !self.lines[block].claim_whole() {
            return;
        }
        // Before it is in the map: whoever gives it back looks at the level.
        let level = tag.level();
        if level != Level::Full {
            self.move_level(zone, block, level, Level::Full);
        }
        self.give_whole(zone, Some64::one(block));
    }

    /// Puts whole blocks into the map; returns those that were there already.
    pub(crate) fn give_whole(&self, zone: &Zone, blocks: Some64) -> Some64 {
        let twice = self.whole.put(zone, blocks);
        for block in blocks.iter() {
            if self.tags[block].is_closed() && !is_on(Mutant::PutWithoutLook) {
                let late = self.whole.take(zone, Some64::one(block));
                self.return_closed(zone, late);
            }
        }
        twice
    }

    /// Puts blocks that were closed in the meantime into their lines.
    #[cold]
    fn return_closed(&self, zone: &Zone, blocks: Some64) {
        for block in blocks.iter() {
            self.spread(block);
            self.refresh(zone, block);
        }
    }

    /// Gives whole blocks back that were folios of order 9.
    pub(crate) fn put_blocks(&self, zone: &Zone, entries: &[Entry], mut bad: impl FnMut(Pfn)) {
        let mut coming = Some64 { first: 0, bits: 0 };
        let flush = |blocks: Some64, bad: &mut dyn FnMut(Pfn)| {
            if !blocks.is_empty() {
                let twice = self.give_whole(zone, blocks);
                twice.iter().for_each(|block| bad(frame_at(block, 0)));
            }
        };
        for entry in entries {
            let (block, tag) = (block_of(entry.pfn()), &self.tags[block_of(entry.pfn())]);
            let one = Some64::one(block);
            // The level tells if something of the block is in its line.
            if !tag.is_open_and_full() {
                self.put_folio(zone, entry.pfn(), Order::PMD)
                    .unwrap_or_else(|DoubleFree| bad(entry.pfn()));
                continue;
            }
            if one.first != coming.first || coming.has(block) {
                flush(coming, &mut bad);
                coming = Some64 { bits: 0, ..one };
            }
            coming.bits |= one.bits;
        }
        flush(coming, &mut bad);
    }

    /// Takes whole blocks.
    pub(crate) fn take_blocks(&self, zone: &Zone, want: Want, into: &mut Batch) {
        let range = zone.blocks();
        let mut from = range.start;
        while (into.len() as u32) < want.count
            && let Some(seen) = self.whole.next(&range, from)
        {
            from = seen.first + 64;
            let room = want.count as usize - into.len();
            let suit = seen
                .iter()
                .filter(|&block| self.tags[block].is_open_in(zone.id()));
            let bits = suit.take(room).fold(0, |bits, block| bits | 1 << (block % 64));
            let got = self.whole.take(zone, Some64 { bits, ..seen });
            self.hand_over(zone, got, want.mobility, |block, fresh| {
                into.push(Entry::new(frame_at(block, 0), fresh));
            });
        }
    }

    /// Takes two blocks as one folio of order 10, if both are whole and in the zone.
    pub(crate) fn take_pair(&self, zone: &Zone, want: Want, block: usize, into: &mut Batch) {
        let both = [block, block + 1];
        let inside = |&at: &usize| zone.blocks().contains(&at) && self.tags[at].is_open_in(zone.id());
        let pair = Some64 {
            first: block & !63,
            bits: 0b11 << (block % 64),
        };
        if !both.iter().all(inside) || !self.whole.take_all(zone, pair) {
            return;
        }
        let (mut got, mut all_fresh) = (0, true);
        self.hand_over(zone, pair, want.mobility, |block, fresh| {
            got |= Some64::one(block).bits;
            all_fresh &= fresh;
        });
        if got == pair.bits {
            into.push(Entry::new(frame_at(block, 0), all_fresh));
        } else {
            // The other half was closed in the meantime.
            self.give_whole(zone, Some64 { bits: got, ..pair });
        }
    }

    /// Takes pairs of blocks.
    pub(crate) fn take_pairs(&self, zone: &Zone, want: Want, into: &mut Batch) {
        let range = zone.blocks();
        let mut from = range.start;
        while let Some(seen) = self.whole.next(&range, from) {
            from = seen.first + 64;
            const EVEN: u64 = 0x5555_5555_5555_5555;
            let pairs = Some64 {
                bits: seen.bits & seen.bits >> 1 & EVEN,
                ..seen
            };
            for block in pairs.iter() {
                if into.len() as u32 >= want.count {
                    return;
                }
                self.take_pair(zone, want, block, into);
            }
        }
    }

    /// Makes blocks that were just taken out of the map a mobility's, and calls
    /// `each` with every one and whether it is fresh. Those that were closed in
    /// the meantime go to their lines instead.
    fn hand_over(&self, zone: &Zone, got: Some64, mobility: Mobility, mut each: impl FnMut(usize, bool)) {
        let known = match self.ram_was_zeroed {
            true => self.whole.mark_stale(got),
            false => got,
        };
        for block in got.iter() {
            let tag = &self.tags[block];
            if !tag.is_of(mobility) {
                if tag.is_closed() && !is_on(Mutant::TakeWithoutLook) {
                    self.return_closed(zone, Some64::one(block));
                    continue;
                }
                tag.set_mobility(mobility);
            }
            each(block, !known.has(block) && self.used[block].is_used_up());
        }
    }
}
