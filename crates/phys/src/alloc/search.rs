//! Finding a block to take folios from.
//!
//! Placement: single frames come from the block the CPU is on; when that is
//! used up, from the fullest block worth a visit, so that empty blocks stay
//! whole for huge pages; a whole block is broken last, and another mobility's
//! block only after that.

use foliant_platform::sync::atomic::{AtomicU32, Ordering, fence};
use foliant_units::Order;

use super::blocks::Blocks;
use super::entry::Batch;
use super::hints::map_of;
use super::kind::BlockKind;
use super::line::BLOCK;
use super::request::Mobility;
use super::tag::Level;
use crate::mutant::{Mutant, is_on};
use crate::zone::Zone;

/// What a search is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// Of which order.
    pub(crate) order: Order,
    /// For which mobility.
    pub(crate) mobility: Mobility,
    /// How many, at most a batch.
    pub(crate) count: u32,
}

impl Want {
    /// Whether frames lent by contiguous areas will do.
    pub(crate) fn may_borrow(&self) -> bool {
        self.mobility == Mobility::Movable
    }
}

/// What a search did besides finding folios.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Found {
    /// A block of another mobility was used.
    pub(crate) fallback: bool,
    /// It now belongs to this mobility.
    pub(crate) stole: bool,
}

impl Blocks {
    /// Takes folios by following hints: quick, and may miss some. `current`
    /// names the calling CPU's block for single frames.
    pub(crate) fn search(
        &self,
        zone: &Zone,
        want: Want,
        current: Option<&AtomicU32>,
        into: &mut Batch,
    ) -> Found {
        let mut found = Found::default();
        match want.order.raw() {
            0..=8 => {}
            9 => {
                self.take_blocks(zone, want, into);
                return found;
            }
            _ => {
                self.take_pairs(zone, want, into);
                return found;
            }
        }
        let current = current.filter(|_| want.order == Order::ZERO);
        if let Some(current) = current {
            self.take_from_current(zone, want, current, into);
        }
        let own_kind = into.is_empty()
            && (self.take_from_levels(
                zone,
                want,
                BlockKind::Of(want.mobility),
                &own_levels(want.order),
                current,
                into,
            ) || self.take_from_whole(zone, want, current, into));
        if into.is_empty() && !own_kind && want.may_borrow() {
            const FULLEST_FIRST: [Level; 5] =
                [Level::Low, Level::Mid, Level::High, Level::Dust, Level::Whole];
            self.take_from_levels(zone, want, BlockKind::Cma, &FULLEST_FIRST, None, into);
        }
        if into.is_empty() && !own_kind {
            found.fallback = want.mobility.fallbacks().into_iter().any(|other| {
                const EMPTIEST_FIRST: [Level; 4] = [Level::High, Level::Mid, Level::Low, Level::Dust];
                self.take_from_levels(zone, want, BlockKind::Of(other), &EMPTIEST_FIRST, None, into)
            });
            found.stole = found.fallback && self.maybe_steal(zone, want.mobility, into);
        }
        found
    }

    /// Takes folios by visiting every block of the zone, waiting for claims,
    /// whatever they are tagged: finds what there is.
    pub(crate) fn search_all(&self, zone: &Zone, want: Want, into: &mut Batch) {
        for block in zone.blocks() {
            let done = into.len() as u32 >= want.count;
            if done {
                return;
            }
            if self.is_used_up(block) || !self.is_of(zone, block) {
                continue;
            }
            let claim = self.tags[block].claim();
            if want.order.raw() > 9 {
                self.gather(&claim, zone, block);
                drop(claim);
                self.take_pair(zone, want, block & !1, into);
                continue;
            }
            match self.tags[block].kind() {
                _ if !self.is_of(zone, block) => continue,
                BlockKind::Of(_) => {}
                BlockKind::Cma if want.may_borrow() => {}
                BlockKind::Cma | BlockKind::HighAtomic | BlockKind::Isolated => continue,
            }
            let before = into.len();
            self.open_up(&claim, zone, block);
            if self.lines[block].is_whole() {
                self.retag(&claim, zone, block, want.mobility);
            }
            self.take(&claim, block, want.order, want.count - before as u32, into);
            if self.tags[block].is_cma() {
                zone.lend(((into.len() - before) as u64) << want.order.raw());
            }
            drop(claim);
            self.refresh(zone, block);
            self.rehint(zone, block);
        }
    }

    /// Whether a block has nothing free, and nobody is moving what it has.
    fn is_used_up(&self, block: usize) -> bool {
        let moving = || self.tags[block].is_claimed() && !is_on(Mutant::LookPastClaim);
        // What is whole goes from the map to the line, or back, under the claim:
        // it is missed only if it went there and back while this looked.
        if self.whole.has(block) || moving() || !self.lines[block].is_used_up() {
            return false;
        }
        // Acquire: who finds the line cleared sees the claim.
        fence(Ordering::Acquire);
        !moving() && !self.whole.has(block)
    }

    fn take_from_current(&self, zone: &Zone, want: Want, current: &AtomicU32, into: &mut Batch) {
        let Some(block) = current.load(Ordering::Relaxed).checked_sub(1) else {
            return;
        };
        let block = block as usize;
        if self.tags[block].kind() == BlockKind::Of(want.mobility)
            && let Some(claim) = self.tags[block].try_claim()
        {
            self.take(&claim, block, want.order, want.count, into);
        }
        if into.is_empty() || self.lines[block].is_used_up() {
            self.release_current(zone, current);
        }
    }

    /// Takes from blocks of `owner` at these levels, in order; tells whether it
    /// got anything.
    pub(super) fn take_from_levels(
        &self,
        zone: &Zone,
        want: Want,
        owner: BlockKind,
        levels: &[Level],
        current: Option<&AtomicU32>,
        into: &mut Batch,
    ) -> bool {
        for &level in levels {
            let Some(map) = map_of(owner, level) else { continue };
            let mut from = 0;
            while let Some(block) = self.hints.next(zone, map, from) {
                from = block + 1;
                self.take_some(zone, want, owner, block, into);
                self.unhint(zone, block, map);
                if into.is_empty() {
                    continue;
                }
                if level == Level::Dust && (into.len() as u32) < want.count / 4 {
                    continue;
                }
                if let Some(current) = current {
                    self.adopt_current(zone, block, current);
                }
                return true;
            }
        }
        !into.is_empty()
    }

    /// Forgets a hint that led to a block which is no longer at that level.
    fn unhint(&self, zone: &Zone, block: usize, map: usize) {
        let tag = &self.tags[block];
        if map_of(tag.kind(), tag.level()) != Some(map) {
            self.hints.shift(zone, block, Some(map), None);
        }
    }

    /// Takes from one block of `owner`, if it is not busy.
    fn take_some(&self, zone: &Zone, want: Want, owner: BlockKind, block: usize, into: &mut Batch) {
        let tag = &self.tags[block];
        if !self.is_of(zone, block) {
            return;
        }
        let seen_early = is_on(Mutant::KindBeforeClaim) && tag.kind() == owner;
        let Some(claim) = tag.try_claim() else { return };
        if (tag.kind() == owner || seen_early) && self.is_of(zone, block) {
            let before = into.len() as u32;
            self.take(&claim, block, want.order, want.count - before, into);
            if owner == BlockKind::Cma {
                zone.lend(u64::from(into.len() as u32 - before) << want.order.raw());
            }
        }
        drop(claim);
        self.refresh(zone, block);
    }

    /// Breaks a whole block.
    fn take_from_whole(
        &self,
        zone: &Zone,
        want: Want,
        current: Option<&AtomicU32>,
        into: &mut Batch,
    ) -> bool {
        let range = zone.blocks();
        let mut from = range.start;
        while let Some(seen) = self.whole.next(&range, from) {
            from = seen.first + 64;
            for block in seen.iter().filter(|&block| self.is_of(zone, block)) {
                let Some(claim) = self.tags[block].try_claim() else {
                    continue;
                };
                if self.tags[block].is_open_in(zone.id()) {
                    self.open_up(&claim, zone, block);
                    self.retag(&claim, zone, block, want.mobility);
                    self.take(&claim, block, want.order, want.count, into);
                }
                drop(claim);
                match current {
                    Some(current) if !into.is_empty() => self.adopt_current(zone, block, current),
                    _ => self.refresh(zone, block),
                }
                if !into.is_empty() {
                    return true;
                }
            }
        }
        false
    }

    /// Whether a block is the zone's: zones may lie inside of each other.
    fn is_of(&self, zone: &Zone, block: usize) -> bool {
        self.tags[block].zone() == Some(zone.id())
    }

    /// Gives the block that was fallen back on to `mobility` if at least half
    /// of it is free or was just taken, or if the newcomer would otherwise be
    /// an immovable frame in somebody's movable block again and again.
    ///
    /// # Linux source concept
    /// `try_to_claim_block()`.
    fn maybe_steal(&self, zone: &Zone, mobility: Mobility, taken: &Batch) -> bool {
        let Some(entry) = taken.as_slice().first() else {
            return false;
        };
        let block = super::blocks::block_of(entry.pfn());
        let Some(claim) = self.tags[block].try_claim() else {
            return false;
        };
        let free = self.lines[block].count() as usize + taken.len();
        let steal = free >= BLOCK / 2 && self.tags[block].kind().mobility().is_some();
        if steal {
            self.retag(&claim, zone, block, mobility);
        }
        steal
    }
}

/// In which order to visit blocks of the right mobility: the fullest first for
/// small folios, the emptiest first for those that need room in one piece.
const fn own_levels(order: Order) -> [Level; 4] {
    match order.raw() {
        0..=3 => [Level::Low, Level::Mid, Level::High, Level::Dust],
        _ => [Level::High, Level::Mid, Level::Low, Level::Dust],
    }
}
