//! What belongs to one CPU, and the guard in front of it.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use super::events::Counters;
use super::request::Mobility;
use super::ring::{RING_CLASSES, Ring};
use super::tag::{RingKey, SHELVES};
use crate::mutant::{Mutant, is_on, ordering};
use crate::ram::Table;
use crate::zone::{ZONE_KINDS, ZoneId, ZoneKind};

/// The state of one CPU.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct CpuArea {
    /// Whether someone is using what is this CPU's.
    busy: AtomicBool,
    /// Whether someone else needs the folios in this CPU's rings.
    drain_wanted: AtomicBool,
    /// Where the rings of the zone to ask first begin, for each kind; zero, the
    /// rings of no zone, if that is not known.
    first: [AtomicU32; ZONE_KINDS],
    /// What happened here; written under the guard.
    pub(crate) counters: Counters,
}

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
    #[inline]
    fn first_ring(&self, cpu: usize) -> usize {
        cpu * (self.zones + 1) * RINGS_PER_ZONE
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
        self.areas[cpu].first[kind.index()].store(first as u32, Ordering::Relaxed);
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
        let area = &self.areas[cpu];
        if area.try_enter::<P>() {
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
    /// Sets the busy flag if it is clear.
    ///
    /// With a CPU to itself, this thread competes only with interrupt handlers
    /// on the same CPU, which end before it goes on: a plain flag will do, and
    /// costs a quarter of an exchange.
    #[inline]
    pub(crate) fn try_enter<P: Platform>(&self) -> bool {
        if P::CPU_IS_EXCLUSIVE {
            if self.busy.load(Ordering::Relaxed) {
                return false;
            }
            self.busy.store(true, Ordering::Relaxed);
            // Acquire only matters to the compiler here: the same CPU wrote.
            foliant_platform::sync::atomic::fence(Ordering::Acquire);
            true
        } else {
            if is_on(Mutant::EnterInTwoSteps) {
                let entered = !self.busy.load(Ordering::Acquire);
                self.busy.store(true, Ordering::Relaxed);
                return entered;
            }
            // Acquire: see what the last one to leave did.
            self.busy
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        }
    }

    /// Clears the busy flag.
    #[inline]
    pub(crate) fn leave(&self) {
        self.busy
            .store(false, ordering(Mutant::LeaveRelaxed, Ordering::Release));
    }

    /// Asks the CPU to empty its rings when it next uses them.
    pub(crate) fn want_drain(&self) {
        self.drain_wanted.store(true, Ordering::Relaxed);
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
    pub(crate) fn ring(&self, zone: ZoneId, mobility: Mobility, class: usize) -> &'a Ring {
        &self.cpus.zone_rings(self.cpu, zone)[mobility.index() * RING_CLASSES + class]
    }

    /// The ring for folios of a block with this key.
    #[inline]
    pub(crate) fn ring_of_key(&self, key: RingKey, class: usize) -> Option<&'a Ring> {
        let at = self.cpus.first_ring(self.cpu) + key.0 as usize * RING_CLASSES + class;
        self.cpus.rings.get(at)
    }

    /// The ring of the zone to ask first.
    #[inline]
    pub(crate) fn first_ring(&self, highest: ZoneKind, mobility: Mobility, class: usize) -> Option<&'a Ring> {
        let first = self.area.first[highest.index()].load(Ordering::Relaxed) as usize;
        self.cpus
            .rings
            .get(first + mobility.index() * RING_CLASSES + class)
    }

    #[inline]
    pub(crate) fn counters(&self) -> &'a Counters {
        &self.area.counters
    }

    /// Whether someone asked for the rings to be emptied.
    #[inline]
    pub(crate) fn wants_drain(&self) -> bool {
        self.area.drain_wanted.load(Ordering::Relaxed)
    }

    /// Whether someone asked for the rings to be emptied; asks once.
    #[inline]
    pub(crate) fn take_drain_request(&self) -> bool {
        let wanted = &self.area.drain_wanted;
        wanted.load(Ordering::Relaxed) && wanted.swap(false, Ordering::Relaxed)
    }
}

impl<P: Platform> Drop for CpuGuard<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.area.leave();
        self.platform.preempt_on();
    }
}
