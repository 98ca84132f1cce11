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
// Aligned to a power of two that it does not fill, so that a shift finds it.
#[derive(Debug, Default)]
#[repr(C, align(512))]
pub(crate) struct CpuArea {
    /// Whether someone is using what is this CPU's.
    busy: CpuFlag,
    /// Why the short ways may not be taken: then the ways to rings are [`CLOSED`].
    caution: AtomicU32,
    /// Where the rings of this CPU begin.
    rings: AtomicU32,
    /// Where the rings of the zone to ask first begin, for each kind and
    /// mobility; zero, the rings of no zone, if that is not known.
    first: [[AtomicU32; Mobility::ALL.len()]; ZONE_KINDS],
    /// To which ring the last folio went that was freed by the short way: its
    /// name in the upper half, and where it is in the lower.
    last: AtomicU64,
    /// What happened here; written under the guard.
    pub(crate) counters: Counters,
}

/// [Caution](CpuArea::caution): someone else needs the folios in this CPU's rings.
const DRAIN: u32 = 1;
/// Caution: frames are poisoned, or a failure is to be injected.
const CAREFUL: u32 = 2;

/// Added to where rings begin, so that they are not found: the short ways need
/// not ask about caution.
const CLOSED: u32 = 1 << 31;

/// The same for the name of the last ring, which then is no ring's.
const LAST_CLOSED: u64 = 1 << 63;

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

/// All CPUs. The rings lie by CPU, zone, shelf and class; before those of the
/// first zone are the rings of no zone, which have no room, so that the
/// [key](RingKey) of any block leads somewhere.
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
            let first = Self::rings(cpu, zones) as u32;
            area.rings.store(first, Ordering::Relaxed);
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
        cpus * (zones + 1) * RINGS_PER_ZONE
    }

    /// Where the rings of a CPU begin.
    fn first_ring(&self, cpu: usize) -> usize {
        Self::rings(cpu, self.zones)
    }

    /// A CPU's rings of one zone, by shelf and class. To be changed under the
    /// CPU's guard only.
    pub(crate) fn zone_rings(&self, cpu: usize, zone: ZoneId) -> &[Ring] {
        let from = self.first_ring(cpu) + (zone.index() + 1) * RINGS_PER_ZONE;
        &self.rings[from..from + RINGS_PER_ZONE]
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
        let first = zone.map_or(0, |zone| {
            self.first_ring(cpu) + (zone.index() + 1) * RINGS_PER_ZONE
        });
        let ways = &self.areas[cpu].first[kind.index()];
        for (mobility, way) in ways.iter().enumerate() {
            let shelf = if first == 0 { 0 } else { mobility * RING_CLASSES };
            let set = |before| Some((first + shelf) as u32 | before & CLOSED);
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

    /// The same if it is the one that was asked for last: then where it is does
    /// not depend on the folio, and the processor need not wait for that.
    #[inline]
    pub(crate) fn last_ring(&self, key: RingKey, class: RingClass) -> Option<&'a Ring> {
        let last = self.area.last.load(Ordering::Relaxed);
        if last >> 32 != key.name(class) {
            return None;
        }
        self.cpus.rings.get(last as u32 as usize)
    }

    /// The ring for folios of a block with this key.
    pub(crate) fn ring_of_key(&self, key: RingKey, class: RingClass) -> Option<&'a Ring> {
        let first = self.area.rings.load(Ordering::Relaxed) as usize;
        let at = first + key.0 as usize * RING_CLASSES + class.index();
        let ring = self.cpus.rings.get(at)?;
        self.area.remember(key.name(class) << 32 | at as u64);
        Some(ring)
    }

    /// The ring of the zone to ask first.
    #[inline]
    pub(crate) fn first_ring(
        &self,
        highest: ZoneKind,
        mobility: Mobility,
        class: RingClass,
    ) -> Option<&'a Ring> {
        let first = &self.area.first[highest.index()][mobility.index()];
        let first = first.load(Ordering::Relaxed) as usize;
        self.cpus.rings.get(first + class.index())
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
