//! What belongs to one CPU, and the guard in front of it.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use super::events::Counters;
use super::ring::{RING_CLASSES, Ring};
use crate::mutant::{Mutant, is_on, ordering};
use crate::ram::Table;
use crate::zone::ZoneId;

/// The state of one CPU.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct CpuArea {
    /// Whether someone is using what is this CPU's.
    busy: AtomicBool,
    /// Whether someone else needs the folios in this CPU's rings.
    drain_wanted: AtomicBool,
    /// What happened here; written under the guard.
    pub(crate) counters: Counters,
}

/// What one CPU has of one zone. Written under the guard of the CPU.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct RingSet {
    /// The block that single frames are taken from, plus one, by mobility.
    pub(crate) current: [AtomicU32; 3],
    /// What the zone's count of free frames does not know yet.
    pub(crate) delta: AtomicI64,
    /// Rings by mobility and class.
    pub(crate) rings: [[Ring; RING_CLASSES]; 3],
}

/// All CPUs.
#[derive(Debug)]
pub(crate) struct Cpus {
    areas: Table<CpuArea>,
    sets: Table<RingSet>,
    zones: usize,
}

impl Cpus {
    pub(crate) fn new(areas: Table<CpuArea>, sets: Table<RingSet>, zones: usize) -> Self {
        Self { areas, sets, zones }
    }

    pub(crate) fn len(&self) -> usize {
        self.areas.len()
    }

    #[inline]
    pub(crate) fn area(&self, cpu: usize) -> &CpuArea {
        &self.areas[cpu]
    }

    /// What `cpu` has of a zone. To be changed under the CPU's guard only.
    #[inline]
    pub(crate) fn set(&self, cpu: usize, zone: ZoneId) -> &RingSet {
        &self.sets[cpu * self.zones + zone.index()]
    }

    /// Enters what is the calling CPU's; `None` if it is in use, by an
    /// interrupted piece of code or by another thread on the same CPU.
    #[inline]
    pub(crate) fn enter<'a, P: Platform>(&'a self, platform: &'a P) -> Option<CpuGuard<'a, P>> {
        platform.preempt_off();
        let cpu = platform.cpu().index();
        if self.areas[cpu].try_enter::<P>() {
            return Some(CpuGuard {
                cpus: self,
                platform,
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
        if self.areas[cpu].try_enter::<P>() {
            return Some(CpuGuard {
                cpus: self,
                platform,
                cpu,
            });
        }
        platform.preempt_on();
        None
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
    cpu: usize,
}

impl<'a, P: Platform> CpuGuard<'a, P> {
    #[inline]
    pub(crate) fn set(&self, zone: ZoneId) -> &'a RingSet {
        self.cpus.set(self.cpu, zone)
    }

    #[inline]
    pub(crate) fn counters(&self) -> &'a Counters {
        &self.cpus.area(self.cpu).counters
    }

    /// Whether someone asked for the rings to be emptied; asks once.
    #[inline]
    pub(crate) fn take_drain_request(&self) -> bool {
        let wanted = &self.cpus.area(self.cpu).drain_wanted;
        wanted.load(Ordering::Relaxed) && wanted.swap(false, Ordering::Relaxed)
    }
}

impl<P: Platform> Drop for CpuGuard<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.cpus.area(self.cpu).leave();
        self.platform.preempt_on();
    }
}
