//! The physical memory of a machine.

use core::fmt;
use std_alloc::sync::Arc;
use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU8, AtomicU64};
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_units::{Order, Pfn};

use crate::account::Accountant;
use crate::alloc::{Blocks, Counters, Cpus, Event, Injector, Ring, RingClass, block_of};
use crate::audit::Violation;
use crate::boot::{NodeId, OnViolation, Poison};
use crate::compact::{Daemons, Knobs};
use crate::console::Console;
use crate::device::DeviceMap;
use crate::frame::Frame;
use crate::migrate::Migrator;
use crate::page_owner::PageOwners;
use crate::plug::MapMemory;
use crate::reclaim::Reclaimer;
use crate::record::{FrameRecord, NearRecords, RecordView, Records};
use crate::sections::Sections;
use crate::zone::{Policy, Zone, ZoneId, ZoneKind, Zones};

/// The physical memory of a machine: nodes, zones, frame records and the
/// frame allocator. Made by [`Phys::boot`], shared as `Arc<Phys<P>>`.
pub struct Phys<P: Platform> {
    // Before `platform`, so that the tables go before the RAM they are in.
    /// Of most frames, what the short ways need.
    pub(crate) near: NearRecords,
    pub(crate) records: Records,
    pub(crate) blocks: Blocks,
    pub(crate) cpus: Cpus,
    pub(crate) zones: Zones,
    pub(crate) sections: Sections,
    pub(crate) policy: SpinLock<Policy>,
    /// Held while memory comes, goes, or changes its state.
    pub(crate) plugging: Mutex<()>,
    /// Counts of what happens outside of any CPU's guard.
    pub(crate) shared: Counters,
    pub(crate) injector: Injector,
    pub(crate) poisoning: Poison,
    pub(crate) on_violation: OnViolation,
    pub(crate) last_violation: SpinLock<Option<Violation>>,
    pub(crate) reclaimer: SpinLock<Option<Arc<dyn Reclaimer>>>,
    pub(crate) migrator: SpinLock<Option<Arc<dyn Migrator>>>,
    pub(crate) devices: SpinLock<Vec<Arc<DeviceMap>>>,
    pub(crate) mapper: SpinLock<Option<Arc<dyn MapMemory>>>,
    /// What becomes of memory that is added.
    pub(crate) auto_online: AtomicU8,
    pub(crate) accountant: SpinLock<Option<Arc<dyn Accountant>>>,
    pub(crate) console: SpinLock<Option<Arc<dyn Console>>>,
    /// When a failure was told last.
    pub(crate) told: AtomicU64,
    pub(crate) page_owners: Option<PageOwners>,
    pub(crate) daemons: Daemons,
    pub(crate) knobs: Knobs,
    pub(crate) platform: P,
}

impl<P: Platform> Phys<P> {
    /// The machine that the memory belongs to.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The zones, for `/proc/zoneinfo` and reports.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The zone of a frame; `None` where there is no RAM.
    pub fn zone_of(&self, pfn: Pfn) -> Option<ZoneId> {
        self.blocks.tags.get(block_of(pfn))?.zone()
    }

    /// What is known about a frame. A number that is not a frame's is a bug of
    /// the caller, and panics; see [`find_record`](Phys::find_record).
    pub fn record(&self, pfn: Pfn) -> &FrameRecord {
        match self.records.get(pfn) {
            Some(record) => record,
            None => not_ram(pfn),
        }
    }

    /// What is known about a frame, if there is one of this number: RAM, online
    /// or not, or a device's.
    ///
    /// # Linux source concept
    /// `pfn_valid()` and `pfn_to_page()`.
    pub fn find_record(&self, pfn: Pfn) -> Option<&FrameRecord> {
        let known = self.is_ram(pfn) || self.is_device(pfn);
        known.then(|| self.records.get(pfn)).flatten()
    }

    /// The record of any number that has one: holes in memory may have a blank
    /// one. For those who look at the record and then know.
    #[inline]
    pub fn peek_record(&self, pfn: Pfn) -> Option<&FrameRecord> {
        self.records.get(pfn)
    }

    /// Most frames' records, for loops that look at many.
    #[inline]
    pub fn view_records(&self) -> RecordView<'_> {
        self.records.view()
    }

    /// Whether there is a frame of this number.
    pub fn is_ram(&self, pfn: Pfn) -> bool {
        match self.blocks.tags.get(block_of(pfn)) {
            Some(tag) => tag.is_gapless() || self.sections.contains(pfn),
            None => false,
        }
    }

    /// Takes over a reference that [`Frame::into_pfn`] or [`Frame::split`]
    /// handed out. Each may be adopted once; a second time is found when the
    /// count underflows.
    #[inline]
    pub fn adopt(&self, pfn: Pfn) -> Frame<'_, P> {
        Frame::new(self, pfn)
    }

    /// One more reference to the folio that `pfn` is part of. The caller holds
    /// one, or something (a locked slot, say) that holds one.
    pub fn get(&self, pfn: Pfn) -> Frame<'_, P> {
        let head = self.head(pfn);
        self.record(head).refs.get_another();
        Frame::new(self, head)
    }

    /// One more reference to the folio whose first frame is `pfn`, if it has
    /// any and is [findable](crate::Count::make_findable): for those who found
    /// the number without holding a reference or a lock over one, and then look
    /// whether it is still what they looked for.
    ///
    /// # Linux source concept
    /// `folio_try_get()`.
    pub fn try_get(&self, pfn: Pfn) -> Option<Frame<'_, P>> {
        let record = self.find_record(pfn)?;
        record.refs.try_get().then(|| Frame::new(self, pfn))
    }

    /// The first frame of the allocated folio that `pfn` is part of; `pfn`
    /// itself if it is not allocated.
    ///
    /// Folios start at multiples of their size, so there are at most eleven
    /// places to look, and only the right one has references and a large
    /// enough order.
    pub fn head(&self, pfn: Pfn) -> Pfn {
        if self.record(pfn).refs.get() != 0 {
            return pfn;
        }
        let is_head = |&(order, head): &(Order, Pfn)| {
            let record = self.records.get(head);
            record.is_some_and(|record| record.refs.get() != 0 && record.order() >= order)
        };
        let candidates = Order::all().map(|order| (order, pfn.align_down(order.frames())));
        candidates.skip(1).find(is_head).map_or(pfn, |(_, head)| head)
    }

    /// Hands in someone who can free memory; replaces whoever was there.
    pub fn set_reclaimer(&self, reclaimer: Option<Arc<dyn Reclaimer>>) {
        *self.reclaimer.lock() = reclaimer;
    }

    /// Hands in someone who can move folios; replaces whoever was there. Then
    /// requests for large folios compact memory before they reclaim.
    pub fn set_migrator(&self, migrator: Option<Arc<dyn Migrator>>) {
        *self.migrator.lock() = migrator;
    }

    /// Who can move folios.
    pub fn migrator(&self) -> Option<Arc<dyn Migrator>> {
        self.migrator.lock().clone()
    }

    pub(crate) fn reclaimer(&self) -> Option<Arc<dyn Reclaimer>> {
        self.reclaimer.lock().clone()
    }

    /// The `nth` allocation from now fails, counting from one; zero for none.
    pub fn fail_at(&self, nth: u64) {
        self.injector.arm(nth);
        let careful = nth != 0 || self.poisoning != Poison::Off || self.tracks_owners();
        self.cpus.be_careful(careful);
    }

    /// How many folios were asked for since boot.
    pub fn allocations(&self) -> u64 {
        self.events(Event::Request)
    }

    /// How often something happened since boot.
    pub fn events(&self, event: Event) -> u64 {
        let by_cpus: u64 = (0..self.cpus.len())
            .map(|cpu| self.cpus.area(cpu).counters.get(event))
            .sum();
        by_cpus + self.shared.get(event) + self.through_rings(event)
    }

    /// What of an event the positions of the rings tell.
    fn through_rings(&self, event: Event) -> u64 {
        let of_ring = |zone: &Zone, order: Order, ring: &Ring| match event {
            Event::Request => ring.taken(),
            Event::Free => ring.given() * order.frames(),
            _ if event == Event::alloc_from(zone.kind()) => ring.taken() * order.frames(),
            _ => 0,
        };
        let mut sum = 0;
        for cpu in 0..self.cpus.len() {
            for (id, zone) in self.zones.iter() {
                let rings = self.cpus.zone_rings(cpu, id).iter().enumerate();
                sum += rings
                    .map(|(at, ring)| of_ring(zone, RingClass::order_at(at), ring))
                    .sum::<u64>();
            }
        }
        sum
    }

    /// The last broken rule, if any.
    pub fn last_violation(&self) -> Option<Violation> {
        *self.last_violation.lock()
    }

    pub(crate) fn count(&self, event: Event, by: u64) {
        self.shared.add(event, by);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn violated(&self, violation: Violation) {
        self.count(Event::Violation, 1);
        *self.last_violation.lock() = Some(violation);
        if self.tracks_owners()
            && let Some(pfn) = violation.frame()
        {
            self.tell_owner(pfn);
        }
        assert!(self.on_violation != OnViolation::Panic, "{violation}");
    }

    /// The node that the calling CPU is on.
    pub(crate) fn local_node(&self) -> NodeId {
        if self.sections.nodes() == 1 {
            return NodeId(0);
        }
        self.node_of_cpu(self.platform.cpu().0)
    }

    /// The node that a CPU is on: CPUs are dealt out to the nodes in equal parts.
    fn node_of_cpu(&self, cpu: u32) -> NodeId {
        let nodes = u32::from(self.sections.nodes());
        NodeId((cpu * nodes / self.platform.cpus().max(1)) as u8)
    }

    /// Tells each CPU which zones to ask first.
    pub(crate) fn tell_cpus(&self) {
        for cpu in 0..self.cpus.len() {
            let node = self.node_of_cpu(cpu as u32);
            if !self.cpus.knows_near(cpu)
                && let Some(zone) = self.zones.first(ZoneKind::Movable, node)
            {
                self.cpus.set_near(cpu, zone);
            }
            for kind in ZoneKind::ALL {
                self.cpus.set_first(cpu, kind, self.zones.first(kind, node));
            }
        }
    }
}

impl<P: Platform> fmt::Debug for Phys<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phys")
            .field("zones", &self.zones.len())
            .finish_non_exhaustive()
    }
}

#[cold]
pub(crate) fn not_ram(pfn: Pfn) -> ! {
    panic!("{pfn:?} is not a frame of this machine")
}
