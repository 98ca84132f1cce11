//! Folios on their way back.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, Pfn};

use super::blocks::block_of;
use super::cpu::CpuGuard;
use super::entry::{Batch, Entry};
use super::events::Event;
use super::request::Mobility;
use super::ring::{RING_CLASSES, RingSize, ring_class, ring_order};
use crate::audit::Violation;
use crate::phys::Phys;
use crate::record::{FrameFlags, FrameRecord, Left};
use crate::zone::{Zone, ZoneId};

impl<P: Platform> Phys<P> {
    /// Puts one reference to the folio at `pfn`; the last frees it.
    #[inline]
    pub(crate) fn put(&self, pfn: Pfn) {
        let record = self.record(pfn);
        match record.refs.put() {
            Left::Some | Left::Stuck => {}
            Left::None => self.release(pfn, record),
            Left::Underflow => self.violated(Violation::DoubleFree(pfn)),
        }
    }

    /// Takes back a folio without references.
    fn release(&self, pfn: Pfn, record: &FrameRecord) {
        let order = record.order();
        let bad = record.flags().intersects(FrameFlags::FORBIDDEN_AT_FREE) || record.maps.get() != 0;
        if bad {
            // Leaked on purpose, with a count that sticks: someone still
            // believes to own it.
            record.refs.get_another();
            self.violated(Violation::BadState(pfn));
            return;
        }
        record.end(FrameFlags::empty());
        self.poison(pfn, order);
        match self.blocks.tags[block_of(pfn)].home() {
            Some((id, mobility)) => self.free_folio(pfn, order, id, mobility),
            None => self.violated(Violation::NotRam(pfn)),
        }
    }

    /// Puts a folio into this CPU's ring, or straight into the lines.
    #[inline]
    fn free_folio(&self, pfn: Pfn, order: Order, id: ZoneId, mobility: Mobility) {
        let zone = self.zones.get(id);
        let entry = Entry::new(pfn, false);
        if let Some(class) = ring_class(order)
            && let Some(guard) = self.cpus.enter(&self.platform)
        {
            self.serve_drain_request(&guard);
            guard.counters().add_alone(Event::Free, order.frames());
            let ring = &guard.set(id).rings[mobility.index()][class];
            let RingSize { batch, limit } = zone.rings[class];
            if ring.len() >= usize::from(limit) {
                self.drain_ring(&guard, id, zone, mobility.index(), class, batch.into());
            }
            if ring.push(entry) {
                return;
            }
        } else {
            self.shared.add(Event::Free, order.frames());
        }
        self.free_to_line(zone, entry, order);
    }

    #[cold]
    fn free_to_line(&self, zone: &Zone, entry: Entry, order: Order) {
        zone.free.fetch_add(order.frames() as i64, Ordering::Relaxed);
        self.blocks.put(zone, &[entry], order, |pfn| {
            self.violated(Violation::DoubleFree(pfn))
        });
    }

    /// Moves up to `count` folios from a ring to the lines.
    #[cold]
    fn drain_ring(
        &self,
        guard: &CpuGuard<'_, P>,
        id: ZoneId,
        zone: &Zone,
        mobility: usize,
        class: usize,
        count: u32,
    ) {
        let set = guard.set(id);
        let order = ring_order(class);
        let mut batch = Batch::new();
        while (batch.len() as u32) < count.min(super::entry::BATCH as u32)
            && let Some(entry) = set.rings[mobility][class].pop()
        {
            batch.push(entry);
        }
        if batch.is_empty() {
            return;
        }
        guard.counters().add_alone(Event::Drain, 1);
        self.blocks.put(zone, batch.as_slice(), order, |pfn| {
            self.violated(Violation::DoubleFree(pfn))
        });
        zone.fold_in(&set.delta, batch.len() as i64 * order.frames() as i64);
    }

    /// Empties the rings behind a guard.
    #[cold]
    pub(crate) fn drain_guarded(&self, guard: &CpuGuard<'_, P>) {
        for (id, zone) in self.zones.iter() {
            let set = guard.set(id);
            for mobility in 0..set.rings.len() {
                for class in 0..RING_CLASSES {
                    while set.rings[mobility][class].len() > 0 {
                        self.drain_ring(guard, id, zone, mobility, class, u32::MAX);
                    }
                }
                self.blocks.release_current(zone, &set.current[mobility]);
            }
            zone.fold_all(&set.delta);
        }
    }

    /// Empties the calling CPU's rings if someone asked for that.
    #[inline]
    pub(crate) fn serve_drain_request(&self, guard: &CpuGuard<'_, P>) {
        if guard.take_drain_request() {
            self.drain_guarded(guard);
        }
    }

    /// Moves the folios in this CPU's rings back to the lines.
    pub(crate) fn drain_here(&self) {
        if let Some(guard) = self.cpus.enter(&self.platform) {
            self.drain_guarded(&guard);
        }
    }

    /// Moves the folios in all rings back to the lines: at once for this CPU,
    /// and for the others where the platform allows it; elsewhere each CPU does
    /// it when it next allocates or frees.
    ///
    /// # Linux source concept
    /// `drain_all_pages()`.
    pub fn drain_all(&self) {
        self.drain_here();
        let here = self.platform.cpu().index();
        for cpu in (0..self.cpus.len()).filter(|&cpu| cpu != here) {
            match self.cpus.enter_other(&self.platform, cpu) {
                Some(guard) => self.drain_guarded(&guard),
                None => self.cpus.area(cpu).want_drain(),
            }
        }
    }
}
