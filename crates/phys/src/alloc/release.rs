//! Folios on their way back.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, Pfn};

use super::blocks::block_of;
use super::cpu::CpuGuard;
use super::entry::Entry;
use super::events::Event;
use super::ring::{Ring, RingClass, RingSize};
use super::tag::RingKey;
use crate::audit::Violation;
use crate::phys::Phys;
use crate::record::{FrameFlags, FrameRecord, Left};
use crate::zone::{Zone, ZoneId};

impl<P: Platform> Phys<P> {
    /// Puts one reference to the folio at `pfn`; the last frees it.
    // Never: it needs no stack and no register of the caller's.
    #[inline(never)]
    pub(crate) fn put(&self, pfn: Pfn) {
        if !self.put_to_ring(pfn, false, CpuGuard::last_ring) {
            self.put_elsewhere(pfn);
        }
    }

    /// The last folio went to another ring, or others have this one, too.
    #[inline(never)]
    fn put_elsewhere(&self, pfn: Pfn) {
        let shared = self
            .near
            .get(pfn.index())
            .is_some_and(|(record, _)| record.refs.get() > 1);
        if shared || !self.put_to_ring(pfn, false, CpuGuard::ring_of_key) {
            self.put_with_care(pfn);
        }
    }

    /// As [`put`](Self::put), for a single frame whose bytes are all zero: who
    /// asks for zeroes next gets it as it is. What is unusual about the frame
    /// or the moment makes it a frame like others.
    #[inline(never)]
    pub(crate) fn put_zeroed(&self, pfn: Pfn) {
        if !self.put_to_ring(pfn, true, CpuGuard::ring_of_key) {
            self.put(pfn);
        }
    }

    /// The most frequent case: nobody else has the folio, nothing is wrong with
    /// it, and this CPU's ring has room. Otherwise nothing is changed.
    #[inline(always)]
    fn put_to_ring<'a>(
        &'a self,
        pfn: Pfn,
        fresh: bool,
        find: impl FnOnce(&CpuGuard<'a, P>, RingKey, RingClass) -> Option<&'a Ring>,
    ) -> bool {
        let Some((record, tag)) = self.near.get(pfn.index()) else {
            return false;
        };
        let Some(class) = record.ends_quietly() else {
            return false;
        };
        let Some(guard) = self.cpus.enter(&self.platform) else {
            return false;
        };
        let ring = find(&guard, tag.ring_key(), class);
        let done = ring.is_some_and(|ring| ring.push(Entry::new(pfn, fresh)));
        if done {
            // Before the guard goes, so before anybody can take the folio.
            record.end_quietly();
        }
        done
    }

    #[inline(never)]
    fn put_with_care(&self, pfn: Pfn) {
        let record = self.record(pfn);
        match record.refs.put() {
            Left::Some | Left::Stuck => {}
            Left::None => self.release(pfn, record),
            Left::Underflow => self.violated(Violation::DoubleFree(pfn)),
        }
    }

    /// Takes back a folio without references.
    fn release(&self, pfn: Pfn, record: &FrameRecord) {
        if record.has(FrameFlags::CHARGED) {
            self.uncharge(pfn, record.order());
        }
        let Some(order) = record.end_of_use() else {
            return self.refuse(pfn, record);
        };
        if self.is_device(pfn) {
            return self.give_to_device(pfn, order);
        }
        self.note_freed(pfn);
        self.poison(pfn, order);
        self.free_with_care(pfn, order);
    }

    /// Leaks a folio on purpose, with a count that sticks: someone still
    /// believes to own it.
    #[cold]
    #[inline(never)]
    fn refuse(&self, pfn: Pfn, record: &FrameRecord) {
        record.refs.get_another();
        self.violated(Violation::BadState {
            pfn,
            flags: record.flags(),
            maps: record.maps.get(),
            owner: record.owner(),
        });
    }

    /// Puts a folio into this CPU's ring after making room there, or straight
    /// into the lines.
    fn free_with_care(&self, pfn: Pfn, order: Order) {
        let tag = &self.blocks.tags[block_of(pfn)];
        let Some(id) = tag.zone() else {
            return self.violated(Violation::NotRam(pfn));
        };
        let (zone, entry) = (self.zones.get(id), Entry::new(pfn, false));
        let class = RingClass::of(order);
        if class.has_room()
            && let Some(mobility) = tag.kind().mobility()
            && let Some(guard) = self.cpus.enter(&self.platform)
        {
            self.serve_drain_request(&guard);
            let ring = guard.ring(id, mobility, class);
            let RingSize { batch, limit } = zone.ring_size(class.index());
            ring.open(limit, order);
            if ring.len() >= usize::from(limit) {
                self.drain_ring(&guard, id, ring, order, batch.into());
            }
            if ring.push(entry) {
                return;
            }
        }
        self.shared.add(Event::Free, order.frames());
        self.free_to_line(zone, entry, order);
    }

    #[cold]
    pub(crate) fn free_to_line(&self, zone: &Zone, entry: Entry, order: Order) {
        zone.free.fetch_add(order.frames() as i64, Ordering::Relaxed);
        if self.blocks.tags[block_of(entry.pfn())].is_cma() {
            zone.free_cma.fetch_add(order.frames() as i64, Ordering::Relaxed);
        }
        self.put_to_lines(zone, &[entry], order);
    }

    /// Moves up to `count` folios from a ring to the lines.
    #[cold]
    fn drain_ring(&self, guard: &CpuGuard<'_, P>, id: ZoneId, ring: &Ring, order: Order, count: u32) {
        let batch = ring.drain(count as usize);
        if batch.is_empty() {
            return;
        }
        guard.counters().add_alone(Event::Drain, 1);
        let zone = self.zones.get(id);
        self.put_to_lines(zone, batch.as_slice(), order);
        zone.fold_in(&guard.share(id).delta, batch.len() as i64 * order.frames() as i64);
    }

    fn put_to_lines(&self, zone: &Zone, entries: &[Entry], order: Order) {
        // A block that becomes whole is claimed.
        let saved = self.platform.irq_save();
        self.blocks.put(zone, entries, order, |pfn| {
            self.violated(Violation::DoubleFree(pfn))
        });
        self.platform.irq_restore(saved);
    }

    /// Empties the rings behind a guard.
    #[cold]
    pub(crate) fn drain_guarded(&self, guard: &CpuGuard<'_, P>) {
        for (id, zone) in self.zones.iter() {
            for (at, ring) in guard.rings(id).iter().enumerate() {
                while ring.len() > 0 {
                    self.drain_ring(guard, id, ring, RingClass::order_at(at), u32::MAX);
                }
            }
            let share = guard.share(id);
            let saved = self.platform.irq_save();
            for current in &share.current {
                self.blocks.release_current(zone, current);
            }
            self.platform.irq_restore(saved);
            zone.fold_all(&share.delta);
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
