//! What belongs to one CPU, and the guard in front of it.

use foliant_platform::Platform;
use foliant_platform::sync::CpuFlag;
use foliant_platform::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::events::Counters;
use super::request::Mobility;
use super::ring::{RING_CLASSES, Ring, RingClass};
use super::tag::{RingKey, SHELVES};
use crate::mutant::{Mutant, is_on, ordering};
use crate::ram::Table;
use crate::zone::{ZONE_KINDS, ZoneId, ZoneKind};

/// The state of one CPU.
// As large as a power of two that it does not fill, so that a shift finds it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct CpuArea {
    /// What happened here; written under the guard.
    // First, so that what is often written does not lie at the start of a page:
    // there lie the records of blocks, and processors take one for the other.
    pub(crate) counters: Counters,
    /// Whether someone is using what is this CPU's.
    busy: CpuFlag,
    /// Why the short ways may not be taken: then the ways to rings are [`CLOSED`].
    caution: AtomicU32,
    /// The zone whose rings are [`near`](Self::near), plus one; zero for none.
    near_zone: AtomicU32,
    /// The [places](Place) of this CPU's other rings, less those of the near ones.
    rings: AtomicU32,
    /// Where the rings of the zone to ask first begin, for each kind and
    /// mobility; [`NOWHERE`] if that is not known.
    first: [[AtomicU32; Mobility::ALL.len()]; ZONE_KINDS],
    /// To which ring the last folio went that was freed by the short way: its
    /// name in the lower half, and its place in the upper.
    last: AtomicU64,
    /// The rings of the zone that most requests ask first, by shelf and class:
    /// here, so that nothing has to be read to know where they are.
    near: [Ring; NEAR],
    rest: Rest,
}

/// What is missing to a power of two.
#[derive(Debug)]
struct Rest {
    _bytes: [u8; REST],
}

/// How many near rings there are: all of a zone's, but models need none.
const NEAR: usize = if cfg!(loom) { 1 } else { RINGS_PER_ZONE };
const REST: usize = if cfg!(loom) {
    0
} else {
    AREA.saturating_sub(NEAR * size_of::<Ring>() + HEAD)
};
/// Bytes before the near rings.
const HEAD: usize = 384;
/// Bytes of an area.
const AREA: usize = 1 << 14;

#[cfg(not(loom))]
const _: () = assert!(size_of::<CpuArea>() == AREA, "a shift finds it");

impl Default for Rest {
    fn default() -> Self {
        Self { _bytes: [0; REST] }
    }
}

/// Where a ring lies: below [`RINGS_PER_ZONE`] among the near ones of the CPU,
/// from there on in the table of all others.
type Place = u32;

/// [Caution](CpuArea::caution): someone else needs the folios in this CPU's rings.
const DRAIN: u32 = 1;
/// Caution: frames are poisoned, or a failure is to be injected.
const CAREFUL: u32 = 2;

/// Added to where rings begin, so that they are not found: the short ways need
/// not ask about caution.
const CLOSED: Place = 1 << 31;
/// The place of no ring.
const NOWHERE: Place = 1 << 30;

/// The same for the name of the last ring, which then is no ring's.
const LAST_CLOSED: u64 = 1 << 31;

/// What one CPU has of one zone besides rings. Written under the guard of the CPU.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(crate) struct ZoneShare {
    /// The block that single frames are taken from, plus one, by mobility.
    pub(crate) current: [AtomicU32; 3],
    /// What the zone's count of free frames does not know yet.
    pub(crate) delta: AtomicI64,
}

/// Rings of a zone: a shelf for each mobility, and one whose rings have no room.
const RINGS_PER_ZONE: usize = SHELVES * RING_CLASSES;

/// All CPUs. The rings that are nobody's near ones lie by CPU, zone, shelf and
/// class.
#[derive(Debug)]
pub(crate) struct Cpus {
    areas: Table<CpuArea>,
    shares: Table<ZoneShare>,
    rings: Table<Ring>,
    zones: usize,
}

impl Cpus {
    pub(crate) fn new(
        areas: Table<CpuArea>,
        shares: Table<ZoneShare>,
        rings: Table<Ring>,
        zones: usize,
    ) -> Self {
        for (cpu, area) in areas.iter().enumerate() {
            // Keys count zones from one, which makes room for the near ones.
            area.rings
                .store(Self::rings(cpu, zones) as u32, Ordering::Relaxed);
            let ways = area.first.iter().flatten();
            ways.for_each(|way| way.store(NOWHERE, Ordering::Relaxed));
        }
        Self {
            areas,
            shares,
            rings,
            zones,
        }
    }

    /// How many rings there are.
    pub(crate) const fn rings(cpus: usize, zones: usize) -> usize {
        cpus * zones * RINGS_PER_ZONE
    }

    /// A CPU's rings of one zone, by shelf and class. To be changed under the
    /// CPU's guard only.
    pub(crate) fn zone_rings(&self, cpu: usize, zone: ZoneId) -> &[Ring] {
        let area = &self.areas[cpu];
        if area.has_near(zone) {
            return &area.near;
        }
        let from = Self::rings(cpu, self.zones) + zone.index() * RINGS_PER_ZONE;
        &self.rings[from..from + RINGS_PER_ZONE]
    }

    /// The ring at a place of a CPU.
    fn ring_at<'a>(&'a self, area: &'a CpuArea, place: Place) -> Option<&'a Ring> {
        let place = place as usize;
        match place.checked_sub(RINGS_PER_ZONE) {
            None => area.near.get(place),
            Some(at) => self.rings.get(at),
        }
    }

    /// Says whose rings are near to a CPU, before any of them was used.
    pub(crate) fn set_near(&self, cpu: usize, zone: ZoneId) {
        let near = &self.areas[cpu].near_zone;
        near.store(zone.index() as u32 + 1, Ordering::Relaxed);
    }

    /// Whether it was said.
    pub(crate) fn knows_near(&self, cpu: usize) -> bool {
        self.areas[cpu].near_zone.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn len(&self) -> usize {
        self.areas.len()
    }

    #[inline]
    pub(crate) fn area(&self, cpu: usize) -> &CpuArea {
        &self.areas[cpu]
    }

    /// What `cpu` has of a zone besides rings. To be changed under the CPU's
    /// guard only.
    pub(crate) fn share(&self, cpu: usize, zone: ZoneId) -> &ZoneShare {
        &self.shares[cpu * self.zones + zone.index()]
    }

    /// Says which zone a CPU asks first for memory of a kind.
    pub(crate) fn set_first(&self, cpu: usize, kind: ZoneKind, zone: Option<ZoneId>) {
        let area = &self.areas[cpu];
        for mobility in Mobility::ALL {
            let first = zone.map_or(NOWHERE, |zone| {
                let key = RingKey::of(zone, mobility);
                area.place(key, RingClass::FIRST) & !CLOSED
            });
            let way = &area.first[kind.index()][mobility.index()];
            let set = |before| Some(first | before & CLOSED);
            let _ = way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
        }
    }

    /// From now on the short ways may not be taken, or may be again.
    pub(crate) fn be_careful(&self, careful: bool) {
        for area in self.areas.iter() {
            if careful {
                area.raise(CAREFUL);
            } else {
                area.lower(CAREFUL);
            }
        }
    }

    /// Enters what is the calling CPU's; `None` if it is in use, by an
    /// interrupted piece of code or by another thread on the same CPU.
    #[inline]
    pub(crate) fn enter<'a, P: Platform>(&'a self, platform: &'a P) -> Option<CpuGuard<'a, P>> {
        platform.preempt_off();
        let cpu = platform.cpu().index();
        self.enter_area(platform, cpu)
    }

    #[inline]
    fn enter_area<'a, P: Platform>(&'a self, platform: &'a P, cpu: usize) -> Option<CpuGuard<'a, P>> {
        if let Some(area) = self.areas.get(cpu)
            && area.try_enter::<P>()
        {
            return Some(CpuGuard {
                cpus: self,
                platform,
                area,
                cpu,
            });
        }
        platform.preempt_on();
        None
    }

    /// Enters what is another CPU's. Only where CPUs are guarded by an
    /// exchange; elsewhere the CPU itself has to be asked
    /// ([`CpuArea::want_drain`]).
    pub(crate) fn enter_other<'a, P: Platform>(
        &'a self,
        platform: &'a P,
        cpu: usize,
    ) -> Option<CpuGuard<'a, P>> {
        if P::CPU_IS_EXCLUSIVE {
            return None;
        }
        platform.preempt_off();
        self.enter_area(platform, cpu)
    }
}

impl CpuArea {
    fn has_near(&self, zone: ZoneId) -> bool {
        self.near_zone.load(Ordering::Relaxed) == zone.index() as u32 + 1
    }

    /// Where the ring for a key and class lies; nowhere for the key of no zone,
    /// or if the short ways are closed.
    fn place(&self, key: RingKey, class: RingClass) -> Place {
        let rings = self.rings.load(Ordering::Relaxed);
        let (zone, shelf) = (key.0 / SHELVES as u32, key.0 % SHELVES as u32);
        if zone == 0 {
            return NOWHERE;
        }
        let (zone, rings) = match zone == self.near_zone.load(Ordering::Relaxed) {
            true => (0, rings & CLOSED),
            false => (zone, rings),
        };
        rings + (zone * SHELVES as u32 + shelf) * RING_CLASSES as u32 + class.index() as u32
    }

    /// Makes the caller the only one here; false if somebody is.
    #[inline]
    pub(crate) fn try_enter<P: Platform>(&self) -> bool {
        self.busy.try_enter::<P>() || is_on(Mutant::EnterAnyway)
    }

    /// Lets others in.
    #[inline]
    pub(crate) fn leave(&self) {
        self.busy.leave();
    }

    /// Asks the CPU to empty its rings when it next uses them.
    pub(crate) fn want_drain(&self) {
        self.raise(DRAIN);
    }

    /// Whether someone asked for the rings to be emptied; asks once. Also opens
    /// the short ways if they are closed without a reason: the reason of whoever
    /// closed them last may have been served in between.
    pub(crate) fn take_drain_request(&self) -> bool {
        let closed = self.rings.load(Ordering::Relaxed) & CLOSED != 0;
        let caution = self.caution.load(Ordering::Relaxed);
        (caution & DRAIN != 0 || closed && caution == 0) && self.lower(DRAIN)
    }

    /// Remembers the last ring, unless the short ways are closed.
    pub(crate) fn remember(&self, last: u64) {
        let before = self.last.load(Ordering::Relaxed);
        if is_on(Mutant::RememberStores) {
            self.last.store(last, Ordering::Relaxed);
        } else if before & LAST_CLOSED == 0 {
            // Not over a concurrent close.
            let _ = self
                .last
                .compare_exchange(before, last, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Gives a reason for caution.
    fn raise(&self, reason: u32) {
        self.caution.fetch_or(reason, Ordering::Relaxed);
        self.close();
    }

    /// Takes back a reason for caution; tells whether it was there.
    fn lower(&self, reason: u32) -> bool {
        if is_on(Mutant::OpenAfterLook) {
            let before = self.caution.fetch_and(!reason, Ordering::Relaxed);
            if before == reason {
                self.open();
            }
            return before & reason != 0;
        }
        let before = self.caution.fetch_and(!reason, Ordering::Relaxed);
        self.open();
        // After opening: whoever closed before that had given a reason, which is
        // seen here; whoever closes later leaves it closed.
        if self.caution.load(Ordering::Relaxed) != 0 {
            self.close();
        }
        before & reason != 0
    }

    /// Where rings begin, by all ways to them. `rings` is closed last and opened
    /// first, so that it is closed whenever another is.
    fn ways(&self) -> impl DoubleEndedIterator<Item = &AtomicU32> {
        self.first.iter().flatten().chain([&self.rings])
    }

    fn close(&self) {
        // Release: who opens again sees the reason.
        let release = ordering(Mutant::CloseRelaxed, Ordering::Release);
        self.last.fetch_or(LAST_CLOSED, release);
        self.ways().for_each(|way| {
            way.fetch_or(CLOSED, release);
        });
    }

    fn open(&self) {
        // Acquire: pairs with the release of `close`.
        self.ways().rev().for_each(|way| {
            way.fetch_and(!CLOSED, Ordering::Acquire);
        });
        self.last.fetch_and(!LAST_CLOSED, Ordering::Acquire);
    }

    /// Whether no short way may be taken.
    #[cfg(all(test, loom))]
    pub(crate) fn is_closed(&self) -> bool {
        self.last.load(Ordering::Relaxed) & LAST_CLOSED != 0
            && self.ways().all(|way| way.load(Ordering::Relaxed) & CLOSED != 0)
    }

    /// Whether all short ways may be taken.
    #[cfg(all(test, loom))]
    pub(crate) fn is_open(&self) -> bool {
        self.last.load(Ordering::Relaxed) & LAST_CLOSED == 0
            && self.ways().all(|way| way.load(Ordering::Relaxed) & CLOSED == 0)
    }

    /// Whether a request to empty the rings was not served yet.
    #[cfg(all(test, loom))]
    pub(crate) fn wants_drain(&self) -> bool {
        self.caution.load(Ordering::Relaxed) & DRAIN != 0
    }
}

/// The right to use what is one CPU's.
#[must_use = "the CPU is left as soon as the guard is dropped"]
pub(crate) struct CpuGuard<'a, P: Platform> {
    cpus: &'a Cpus,
    platform: &'a P,
    area: &'a CpuArea,
    cpu: usize,
}

impl<'a, P: Platform> CpuGuard<'a, P> {
    pub(crate) fn share(&self, zone: ZoneId) -> &'a ZoneShare {
        self.cpus.share(self.cpu, zone)
    }

    /// All rings of a zone.
    pub(crate) fn rings(&self, zone: ZoneId) -> &'a [Ring] {
        self.cpus.zone_rings(self.cpu, zone)
    }

    /// The ring of a zone for folios of one mobility and class.
    pub(crate) fn ring(&self, zone: ZoneId, mobility: Mobility, class: RingClass) -> &'a Ring {
        &self.cpus.zone_rings(self.cpu, zone)[mobility.index() * RING_CLASSES + class.index()]
    }

    /// The same if it is near and the one that was asked for last: then where it
    /// is does not depend on the folio, and the processor need not wait for that.
    #[inline]
    pub(crate) fn last_ring(&self, key: RingKey, class: RingClass) -> Option<&'a Ring> {
        let last = self.area.last.load(Ordering::Relaxed);
        if last as u32 != key.name(class) {
            return None;
        }
        self.area.near.get((last >> 32) as usize)
    }

    /// The ring for folios of a block with this key.
    pub(crate) fn ring_of_key(&self, key: RingKey, class: RingClass) -> Option<&'a Ring> {
        let place = self.area.place(key, class);
        let ring = self.cpus.ring_at(self.area, place)?;
        self.area
            .remember(u64::from(place) << 32 | u64::from(key.name(class)));
        Some(ring)
    }

    /// The ring of the zone to ask first, if that is the near one.
    #[inline]
    pub(crate) fn near_ring(
        &self,
        highest: ZoneKind,
        mobility: Mobility,
        class: RingClass,
    ) -> Option<&'a Ring> {
        let near = mobility.index() * RING_CLASSES;
        // So that where the ring is does not wait for what is read here.
        let is_near = self.first(highest, mobility) as usize == near;
        self.area.near.get(near + class.index()).filter(|_| is_near)
    }

    /// The ring of the zone to ask first.
    pub(crate) fn first_ring(
        &self,
        highest: ZoneKind,
        mobility: Mobility,
        class: RingClass,
    ) -> Option<&'a Ring> {
        let place = self.first(highest, mobility) + class.index() as Place;
        self.cpus.ring_at(self.area, place)
    }

    #[inline]
    fn first(&self, highest: ZoneKind, mobility: Mobility) -> Place {
        self.area.first[highest.index()][mobility.index()].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn counters(&self) -> &'a Counters {
        &self.area.counters
    }

    /// Whether someone asked for the rings to be emptied; asks once.
    pub(crate) fn take_drain_request(&self) -> bool {
        self.area.take_drain_request()
    }
}

impl<P: Platform> Drop for CpuGuard<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.area.leave();
        self.platform.preempt_on();
    }
}
