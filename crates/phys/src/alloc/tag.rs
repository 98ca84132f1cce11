//! What is known about a block besides which frames are free.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::relax;

use super::kind::BlockKind;
use super::request::Mobility;
use super::ring::RingClass;
use crate::mutant::{Mutant, is_on, ordering};
use crate::zone::ZoneId;

const CLAIMED: u32 = 1 << 0;
const SHELF_SHIFT: u32 = 1;
const SHELF: u32 = 0b11 << SHELF_SHIFT;
const ZONE_SHIFT: u32 = 3;
const ZONE: u32 = 0xff << ZONE_SHIFT;
const LEVEL_SHIFT: u32 = 11;
const LEVEL: u32 = 0b111 << LEVEL_SHIFT;
const GAPLESS: u32 = 1 << 14;
const CMA: u32 = 1 << 15;
const ISOLATED: u32 = 1 << 16;
const OWN_SHELF_SHIFT: u32 = 17;
/// The frames are a device's.
const DEVICE: u32 = 1 << 27;
/// CPUs do not reach them.
const UNREACHABLE: u32 = 1 << 28;
/// Some frames are the allocator's own tables; their records say which.
const SOME_TABLES: u32 = 1 << 29;
/// All frames are; their records are blank.
const ALL_TABLES: u32 = 1 << 30;

/// Set aside for atomic requests.
const HIGH_ATOMIC: u32 = 1 << 28;

/// The block is not some mobility's.
const CLOSED: u32 = CMA | ISOLATED | HIGH_ATOMIC;

/// The shelf without room: folios go straight to the lines.
const NO_ROOM: u32 = 3;

/// Shelves of rings that a zone has: one for each mobility, and one without room.
pub(crate) const SHELVES: usize = 4;

/// Where the rings for a block's folios lie among a CPU's: its zone and shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingKey(pub(crate) u32);

impl RingKey {
    /// The key of a zone's blocks of a mobility.
    pub(crate) const fn of(zone: ZoneId, mobility: Mobility) -> Self {
        Self((zone.0 as u32 + 1) << 2 | mobility as u32)
    }

    /// A number for the ring of one class among them.
    #[inline]
    pub(crate) const fn name(self, class: RingClass) -> u32 {
        self.0 << 3 | class.index() as u32
    }
}

/// How full a block is, roughly: in which map of hints it stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Level {
    /// Nothing is free: in no map.
    Full,
    /// A few frames are free: not worth a visit while there is better.
    Dust,
    /// Up to a quarter is free.
    Low,
    /// Up to three quarters.
    Mid,
    /// More.
    High,
    /// Everything.
    Whole,
    /// Some CPU takes its frames from here: in no map, so that others keep away.
    Current,
}

impl Level {
    /// The level of a block with so many free frames.
    pub(crate) const fn of(free: u32) -> Self {
        match free {
            0 => Self::Full,
            1..=15 => Self::Dust,
            16..=127 => Self::Low,
            128..=383 => Self::Mid,
            384..=511 => Self::High,
            _ => Self::Whole,
        }
    }

    const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::Full,
            1 => Self::Dust,
            2 => Self::Low,
            3 => Self::Mid,
            4 => Self::High,
            5 => Self::Whole,
            _ => Self::Current,
        }
    }
}

/// The tag of a block: who claims from it, which mobility it is given to, how
/// full it was when last looked at, which zone it is in.
///
/// The claim bit is a lock that is held for a few instructions, and the only
/// one in the allocator. Whoever finds it taken goes to another block.
#[derive(Debug, Default)]
pub(crate) struct Tag(AtomicU32);

/// The right to clear bits in the block's line.
#[derive(Debug)]
#[must_use = "the claim ends as soon as it is dropped"]
pub(crate) struct Claim<'a>(&'a Tag);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release: the next claimant sees the bits that this one cleared.
        self.0
            .0
            .fetch_and(!CLAIMED, ordering(Mutant::UnclaimRelaxed, Ordering::Release));
    }
}

impl Tag {
    /// Takes the claim if nobody has it.
    pub(crate) fn try_claim(&self) -> Option<Claim<'_>> {
        // Acquire: see the bits that the last claimant cleared. The claim is made
        // only on success: dropping one ends it, whosever it is.
        let before = self.0.fetch_or(CLAIMED, Ordering::Acquire);
        if is_on(Mutant::ClaimEndsOther) {
            return (before & CLAIMED == 0).then_some(Claim(self));
        }
        (before & CLAIMED == 0 || is_on(Mutant::ClaimShared)).then(|| Claim(self))
    }

    /// Whether somebody has the claim.
    pub(crate) fn is_claimed(&self) -> bool {
        // Acquire: who finds it ended sees what was done under it.
        self.0.load(Ordering::Acquire) & CLAIMED != 0
    }

    /// Waits for the claim.
    pub(crate) fn claim(&self) -> Claim<'_> {
        let mut spins = 0;
        loop {
            if let Some(claim) = self.try_claim() {
                return claim;
            }
            relax(&mut spins);
        }
    }

    /// The zone of the block; `None` where there is no RAM.
    #[inline]
    pub(crate) fn zone(&self) -> Option<ZoneId> {
        let raw = (self.0.load(Ordering::Relaxed) & ZONE) >> ZONE_SHIFT;
        Some(ZoneId(raw.checked_sub(1)? as u8))
    }

    /// Where folios of this block go when they are freed.
    #[inline]
    pub(crate) fn ring_key(&self) -> RingKey {
        RingKey((self.0.load(Ordering::Relaxed) & (ZONE | SHELF)) >> SHELF_SHIFT)
    }

    /// Puts the block into a zone, at boot.
    pub(crate) fn set_zone(&self, zone: ZoneId) {
        self.0
            .fetch_or(u32::from(zone.0 + 1) << ZONE_SHIFT, Ordering::Relaxed);
    }

    /// Makes the block a device's, in a zone that nothing is given out from.
    pub(crate) fn set_device(&self, zone: ZoneId, reachable: bool) {
        let word = u32::from(zone.0 + 1) << ZONE_SHIFT | NO_ROOM << SHELF_SHIFT | ISOLATED | DEVICE;
        let bits = if reachable { word } else { word | UNREACHABLE };
        self.0.fetch_or(bits, Ordering::Relaxed);
    }

    /// Whether the frames of the block are a device's.
    #[inline]
    pub(crate) fn is_device(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DEVICE != 0
    }

    /// Whether they are, and CPUs reach them.
    pub(crate) fn is_reachable_device(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (DEVICE | UNREACHABLE) == DEVICE
    }

    /// Takes the block out of its zone, when nobody has any of its frames.
    pub(crate) fn leave_zone(&self) {
        self.0.fetch_and(CLAIMED | ALL_TABLES, Ordering::Relaxed);
    }

    /// Whether every frame of the block is RAM.
    #[inline]
    pub(crate) fn is_gapless(&self) -> bool {
        self.0.load(Ordering::Relaxed) & GAPLESS != 0
    }

    /// Says that every frame of the block is RAM, at boot.
    pub(crate) fn set_gapless(&self) {
        self.0.fetch_or(GAPLESS, Ordering::Relaxed);
    }

    /// Whether every frame of the block is RAM, and none the allocator's own.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (GAPLESS | SOME_TABLES | ALL_TABLES) == GAPLESS
    }

    /// Says that the allocator's own tables lie in the block, perhaps everywhere.
    pub(crate) fn set_tables(&self, everywhere: bool) {
        let bit = if everywhere { ALL_TABLES } else { SOME_TABLES };
        self.0.fetch_or(bit, Ordering::Relaxed);
    }

    /// Says that no table lies in all of the block any more.
    pub(crate) fn clear_tables(&self) {
        self.0.fetch_and(!ALL_TABLES, Ordering::Relaxed);
    }

    /// Whether the block is nothing but the allocator's own tables.
    #[inline]
    pub(crate) fn is_tables(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ALL_TABLES != 0
    }

    /// Whether the block is not some mobility's.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Whether the block is some mobility's, and a zone's.
    #[inline]
    pub(crate) fn is_open_in(&self, zone: ZoneId) -> bool {
        self.0.load(Ordering::Relaxed) & (ZONE | CLOSED) == u32::from(zone.0 + 1) << ZONE_SHIFT
    }

    /// Whether the block is some mobility's, and none of it was in its line when
    /// that was last looked at.
    #[inline]
    pub(crate) fn is_open_and_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (CLOSED | LEVEL) == (Level::Full as u32) << LEVEL_SHIFT
    }

    /// Whether the block is this mobility's.
    #[inline]
    pub(crate) fn is_of(&self, mobility: Mobility) -> bool {
        self.0.load(Ordering::Relaxed) & (CLOSED | SHELF) == (mobility as u32) << SHELF_SHIFT
    }

    /// To whom the block is given.
    #[inline]
    pub(crate) fn kind(&self) -> BlockKind {
        match self.0.load(Ordering::Relaxed) {
            word if word & ISOLATED != 0 => BlockKind::Isolated,
            word if word & CMA != 0 => BlockKind::Cma,
            word if word & HIGH_ATOMIC != 0 => BlockKind::HighAtomic,
            word => BlockKind::Of(Mobility::from_raw((word & SHELF) >> SHELF_SHIFT)),
        }
    }

    /// Gives the block to a mobility; returns the level it stands at. Neither
    /// a contiguous area's nor an isolated one changes hands like that.
    pub(crate) fn set_mobility(&self, mobility: Mobility) -> Level {
        let before = self.update(|word| match word & CLOSED {
            0 => word & !SHELF | (mobility as u32) << SHELF_SHIFT,
            _ => word,
        });
        Level::from_raw((before & LEVEL) >> LEVEL_SHIFT)
    }

    /// Whether the block is a contiguous area's, isolated or not.
    pub(crate) fn is_cma(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CMA != 0
    }

    /// Gives the block to a contiguous area; an isolated one stays so.
    pub(crate) fn set_cma(&self) {
        self.update(|word| {
            let own = match word & ISOLATED {
                0 => 0,
                _ => NO_ROOM << OWN_SHELF_SHIFT,
            };
            word & !SHELF | CMA | NO_ROOM << SHELF_SHIFT | own
        });
    }

    /// Sets the block aside for atomic requests, if it is some mobility's;
    /// whether it was.
    pub(crate) fn set_high_atomic(&self) -> bool {
        let before = self.update(|word| match word & CLOSED {
            0 => word & !SHELF | HIGH_ATOMIC | NO_ROOM << SHELF_SHIFT,
            _ => word,
        });
        before & CLOSED == 0
    }

    /// Gives a block that was set aside to a mobility; whether it was.
    pub(crate) fn end_high_atomic(&self, mobility: Mobility) -> bool {
        let before = self.update(|word| match word & (ISOLATED | HIGH_ATOMIC) {
            HIGH_ATOMIC => word & !(SHELF | HIGH_ATOMIC) | (mobility as u32) << SHELF_SHIFT,
            _ => word,
        });
        before & (ISOLATED | HIGH_ATOMIC) == HIGH_ATOMIC
    }

    /// Closes the block to everybody; false if it is closed already.
    pub(crate) fn isolate(&self) -> bool {
        let before = self.update(|word| {
            if word & ISOLATED != 0 {
                return word;
            }
            let own = (word & SHELF) >> SHELF_SHIFT << OWN_SHELF_SHIFT;
            word & !SHELF | NO_ROOM << SHELF_SHIFT | own | ISOLATED
        });
        before & ISOLATED == 0
    }

    /// Opens an isolated block to those it belonged to.
    pub(crate) fn unisolate(&self) {
        self.update(|word| {
            let own = word >> OWN_SHELF_SHIFT & 0b11;
            word & !(SHELF | ISOLATED | 0b11 << OWN_SHELF_SHIFT) | own << SHELF_SHIFT
        });
    }

    /// How full the block was when last looked at.
    pub(crate) fn level(&self) -> Level {
        Level::from_raw((self.0.load(Ordering::Relaxed) & LEVEL) >> LEVEL_SHIFT)
    }

    /// Changes the level if it is still `from`; the one who succeeds updates the maps.
    pub(crate) fn move_level(&self, from: Level, to: Level) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if Level::from_raw((now & LEVEL) >> LEVEL_SHIFT) != from {
                return false;
            }
            let new = now & !LEVEL | (to as u32) << LEVEL_SHIFT;
            if is_on(Mutant::LevelStores) {
                self.0.store(new, Ordering::Relaxed);
                return true;
            }
            match self
                .0
                .compare_exchange_weak(now, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let mut now = self.0.load(Ordering::Relaxed);
        if is_on(Mutant::KindInTwoSteps) {
            self.0.store(change(now), Ordering::Relaxed);
            return now;
        }
        loop {
            match self
                .0
                .compare_exchange_weak(now, change(now), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(before) => return before,
                Err(seen) => now = seen,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_exclusive_and_leaves_the_rest_alone() {
        let tag = Tag::default();
        assert_eq!(tag.zone(), None);
        tag.set_zone(ZoneId(5));
        tag.set_mobility(Mobility::Reclaimable);
        assert!(tag.move_level(Level::Full, Level::Whole));
        let claim = tag.try_claim();
        assert!(claim.is_some() && tag.try_claim().is_none());
        assert!(!tag.move_level(Level::Full, Level::Low));
        drop(claim);
        assert!(tag.try_claim().is_some());
        assert_eq!(
            (tag.zone(), tag.kind(), tag.level()),
            (
                Some(ZoneId(5)),
                BlockKind::Of(Mobility::Reclaimable),
                Level::Whole
            )
        );
    }

    #[test]
    fn a_block_that_is_set_aside_comes_back_to_who_asks() {
        let tag = Tag::default();
        tag.set_mobility(Mobility::Unmovable);
        assert!(tag.set_high_atomic() && !tag.set_high_atomic());
        assert_eq!(
            (tag.kind(), tag.ring_key().0 % 4),
            (BlockKind::HighAtomic, NO_ROOM)
        );
        tag.set_mobility(Mobility::Movable);
        assert_eq!(tag.kind(), BlockKind::HighAtomic);
        assert!(tag.isolate() && !tag.end_high_atomic(Mobility::Movable));
        tag.unisolate();
        assert!(tag.end_high_atomic(Mobility::Movable) && !tag.end_high_atomic(Mobility::Movable));
        assert_eq!(tag.kind(), BlockKind::Of(Mobility::Movable));
    }

    #[test]
    fn an_isolated_block_comes_back_to_its_owner() {
        let tag = Tag::default();
        tag.set_mobility(Mobility::Movable);
        assert!(tag.isolate() && !tag.isolate());
        assert_eq!((tag.kind(), tag.ring_key().0 % 4), (BlockKind::Isolated, NO_ROOM));
        tag.unisolate();
        assert_eq!(tag.kind(), BlockKind::Of(Mobility::Movable));
        tag.set_cma();
        assert!(tag.isolate());
        tag.unisolate();
        assert_eq!((tag.kind(), tag.ring_key().0 % 4), (BlockKind::Cma, NO_ROOM));
    }
}
