//! The allocator's ladder: from the CPU's own ring to giving up.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::{Order, Pfn};

use super::cpu::CpuGuard;
use super::entry::{Batch, Entry};
use super::events::Event;
use super::request::{
    Account, AllocError, AllocRequest, Effort, Fill, How, Mobility, NodeChoice, OnFailure, What,
};
use super::ring::{Ring, RingClass, RingSize};
use super::search::{Found, Want};
use crate::compact::{Captured, Deferring};
use crate::frame::Frame;
use crate::phys::Phys;
use crate::reclaim::{OomVerdict, Progress, Reclaimer};
use crate::record::Stamp;
use crate::zone::watermark::keep_back;
use crate::zone::{Mark, Zone, ZoneId, ZoneKind};

/// Orders above this are not worth killing a program for.
///
/// # Linux source concept
/// `PAGE_ALLOC_COSTLY_ORDER`.
const COSTLY: u8 = 3;

/// How often reclaim may report progress without the request being served.
const MAX_ROUNDS: u32 = 16;

/// How thoroughly one step of the ladder looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    /// What must be left in the zone.
    mark: Mark,
    /// Whether to visit every block.
    everywhere: bool,
}

impl Look {
    /// Every block, down to the last frame.
    const EVERYTHING: Self = Self {
        mark: Mark::None,
        everywhere: true,
    };
}

impl<P: Platform> Phys<P> {
    /// Allocates one folio; the caller gets the only reference.
    ///
    /// # Errors
    /// [`AllocError::OutOfMemory`] after everything that the request's effort
    /// allows was tried; [`AllocError::Injected`] if a test asked for it.
    ///
    /// # Locking
    /// None is needed. With an effort that may sleep, the caller must hold no
    /// spin lock.
    ///
    /// # Linux source concept
    /// `__alloc_frozen_pages_noprof()` and its slow path.
    // Always: so that only the short way is part of the caller, and what is
    // asked for is known to the compiler there.
    #[inline(always)]
    pub fn alloc(&self, request: AllocRequest) -> Result<Frame<'_, P>, AllocError> {
        match self.take_from_own_ring(request, CpuGuard::near_ring) {
            Some((entry, stamp)) => self.hand_out_quickly(entry, stamp, request),
            None => {
                let (what, how) = request.parts();
                match self.alloc_with_care(what, how) {
                    (pfn, None) => Ok(Frame::new(self, pfn)),
                    (_, Some(error)) => Err(error),
                }
            }
        }
    }

    /// The most frequent case, short enough to be inlined: this CPU's ring of
    /// the first zone that will do has what is asked for. Watermarks were
    /// looked at when the ring was filled; the ring counts what is taken.
    #[inline(always)]
    fn take_from_own_ring<'a>(
        &'a self,
        request: AllocRequest,
        find: impl FnOnce(&CpuGuard<'a, P>, ZoneKind, Mobility, RingClass) -> Option<&'a Ring>,
    ) -> Option<(Entry, Stamp)> {
        if request.node != NodeChoice::Local || request.account != Account::Nobody {
            return None;
        }
        let class = RingClass::of(request.order);
        let guard = self.cpus.enter(&self.platform)?;
        let ring = find(&guard, request.zone, request.mobility, class)?;
        Some((ring.pop()?, ring.stamp()))
    }

    /// Makes the folio ready for its new owner, where that is little work.
    #[inline(always)]
    fn hand_out_quickly(
        &self,
        entry: Entry,
        stamp: Stamp,
        request: AllocRequest,
    ) -> Result<Frame<'_, P>, AllocError> {
        let clean = request.fill == Fill::Any || entry.is_fresh();
        match self.near.get(entry.pfn().index()) {
            Some((record, _)) if clean => {
                record.begin_stamped(stamp, request.owner);
                Ok(Frame::new(self, entry.pfn()))
            }
            _ => Ok(self.hand_out(entry, request.parts().0)),
        }
    }

    // Two words in registers, for which callers need no stack.
    #[inline(never)]
    fn alloc_with_care(&self, what: What, how: How) -> (Pfn, Option<AllocError>) {
        match self.try_with_care(what, how) {
            Ok(frame) => (frame.into_pfn(), None),
            Err(error) => (Pfn::ZERO, Some(error)),
        }
    }

    fn try_with_care(&self, what: What, how: How) -> Result<Frame<'_, P>, AllocError> {
        let request = AllocRequest::of_parts(what, how);
        // The zone to ask first may be another than most requests'.
        if let Some((entry, stamp)) = self.take_from_own_ring(request, CpuGuard::first_ring) {
            return self.hand_out_quickly(entry, stamp, request);
        }
        if self.injector.hits() {
            return Err(self.failed(&request, AllocError::Injected));
        }
        match self.alloc_from_zones(&request) {
            Ok(entry) => {
                self.check_and_unpoison(entry.pfn(), request.order);
                let frame = self.hand_out(entry, what);
                self.note_allocated(frame.pfn(), &request);
                if !self.charge(frame.pfn(), &request) {
                    drop(frame);
                    return Err(self.failed(&request, AllocError::OverCharged));
                }
                Ok(frame)
            }
            Err(error) => Err(self.failed(&request, error)),
        }
    }

    fn alloc_from_zones(&self, request: &AllocRequest) -> Result<Entry, AllocError> {
        let quick = Look {
            mark: Mark::Low,
            everywhere: false,
        };
        self.attempt(request, quick)
            .map_or_else(|| self.alloc_slowly(request), Ok)
    }

    /// Memory is low: the steps below the watermark, one after the other.
    #[cold]
    fn alloc_slowly(&self, request: &AllocRequest) -> Result<Entry, AllocError> {
        let reclaimer = self.reclaimer();
        if let Some(reclaimer) = &reclaimer {
            reclaimer.wake(request);
        }

        // 1. What is kept back for those who got here. A large folio that its
        // owner can do without is not worth a visit to every block.
        let worth_it = request.order.raw() <= COSTLY
            || matches!(
                request.effort,
                Effort::MayReclaim
                    | Effort::RetryMayFail
                    | Effort::NoFail
                    | Effort::Reserves
                    | Effort::Urgent
                    | Effort::Victim
            );
        let thorough = Look {
            mark: Mark::Min,
            everywhere: worth_it,
        };
        if let Some(entry) = self.attempt_low(request, thorough) {
            return Ok(entry);
        }
        if request.effort == Effort::Reserves {
            return self
                .attempt(request, Look::EVERYTHING)
                .ok_or(AllocError::OutOfMemory);
        }

        // 2. What lies in rings: everybody's, for those who can wait for that.
        if request.effort.may_sleep() {
            self.drain_all();
        } else {
            self.drain_here();
        }
        if let Some(entry) = self.attempt_low(request, thorough) {
            return Ok(entry);
        }

        // 3. What is free, but in pieces.
        if request.order > Order::ZERO {
            if !request.effort.may_sleep() {
                self.wake_compaction(self.local_node(), request.order);
            } else if let Some(entry) = self.compact_and_take(request, Deferring::Heed, thorough) {
                return Ok(entry);
            }
        }

        // 4. What is set aside for others.
        if request.effort.may_sleep()
            && reclaimer.is_none()
            && self.give_up_set_aside(request, true)
            && let Some(entry) = self.attempt_low(request, thorough)
        {
            return Ok(entry);
        }

        // 5. What others use.
        let Some(reclaimer) = reclaimer.filter(|_| request.effort.may_sleep()) else {
            return Err(AllocError::OutOfMemory);
        };
        self.reclaim_for(request, &*reclaimer, thorough)
    }

    /// Has others' frames freed until one is left for the request, or until that
    /// is of no use.
    ///
    /// # Linux source concept
    /// `should_reclaim_retry()` and the loop around it.
    fn reclaim_for(
        &self,
        request: &AllocRequest,
        reclaimer: &dyn Reclaimer,
        thorough: Look,
    ) -> Result<Entry, AllocError> {
        self.count(Event::Stall, 1);
        let mut round = 0;
        while round < MAX_ROUNDS || request.effort == Effort::NoFail {
            round += 1;
            let progress = reclaimer.reclaim(request);
            self.drain_all();
            if let Some(entry) = self.attempt_low(request, thorough) {
                return Ok(entry);
            }
            // What was freed may lie in pieces.
            if request.order > Order::ZERO
                && progress == Progress::Some
                && let Some(entry) = self.compact_and_take(request, Deferring::Ignore, thorough)
            {
                return Ok(entry);
            }
            if self.give_up_set_aside(request, progress == Progress::None)
                && let Some(entry) = self.attempt_low(request, thorough)
            {
                return Ok(entry);
            }
            match (progress, request.effort) {
                (_, Effort::NoRetry | Effort::Victim) => break,
                (Progress::Some, _) => {}
                (Progress::None, Effort::MayReclaim | Effort::Urgent) if request.order.raw() <= COSTLY => {
                    if reclaimer.out_of_memory(request) == OomVerdict::GiveUp {
                        break;
                    }
                }
                (Progress::None, Effort::NoFail) => {
                    // What is kept back is better used up than the promise broken.
                    if let Some(entry) = self.attempt(request, Look::EVERYTHING) {
                        return Ok(entry);
                    }
                    if reclaimer.out_of_memory(request) == OomVerdict::GiveUp {
                        break;
                    }
                }
                (Progress::None, _) => break,
            }
        }
        Err(AllocError::OutOfMemory)
    }

    /// Asks each zone that will do, and what is set aside for such requests.
    fn attempt_low(&self, request: &AllocRequest, look: Look) -> Option<Entry> {
        self.with_set_aside(request, || self.attempt(request, look))
    }

    /// Compacts, and takes what came of it.
    fn compact_and_take(&self, request: &AllocRequest, deferring: Deferring, look: Look) -> Option<Entry> {
        match self.compact_for(request, deferring) {
            Captured::Folio(entry) => Some(entry),
            Captured::Made => self.attempt(request, look),
            Captured::Nothing => None,
        }
    }

    /// Asks each zone that will do, in order.
    fn attempt(&self, request: &AllocRequest, look: Look) -> Option<Entry> {
        let local = self.local_node();
        let mut zones = self.zones.for_request(request.zone, request.node, local);
        zones.find_map(|(id, zone)| self.take_from_zone(id, zone, request, look))
    }

    /// Takes one folio from a zone: from this CPU's ring, or straight from the
    /// lines where there is no ring or someone is using it.
    fn take_from_zone(&self, id: ZoneId, zone: &Zone, request: &AllocRequest, look: Look) -> Option<Entry> {
        let class = RingClass::of(request.order);
        if !class.has_room() {
            return self.take_from_lines(zone, request, look);
        }
        let Some(guard) = self.cpus.enter(&self.platform) else {
            self.shared.add(Event::Busy, 1);
            return self.take_from_lines(zone, request, look);
        };
        self.serve_drain_request(&guard);
        let entry = guard.ring(id, request.mobility, class).pop();
        entry.or_else(|| self.refill(&guard, id, zone, request, class, look))
    }

    /// Fills a ring from the lines and takes the first folio.
    #[cold]
    fn refill(
        &self,
        guard: &CpuGuard<'_, P>,
        id: ZoneId,
        zone: &Zone,
        request: &AllocRequest,
        class: RingClass,
        look: Look,
    ) -> Option<Entry> {
        if !self.is_above(id, zone, request, look.mark) {
            return None;
        }
        let set = guard.share(id);
        let count =
            u32::from(zone.ring_size(class.index()).batch).min(self.room_above(id, zone, request, look.mark));
        let want = Want {
            order: request.order,
            mobility: request.mobility,
            count,
        };
        let current = Some(&set.current[request.mobility.index()]);
        let mut batch = Batch::new();
        let found = self.search_lines(zone, want, current, look, &mut batch);

        let counters = guard.counters();
        counters.add_alone(Event::Refill, 1);
        counters.add_alone(Event::Fallback, u64::from(found.fallback));
        counters.add_alone(Event::Steal, u64::from(found.stole));
        if found.stole {
            zone.raise_boost();
        }
        let frames = batch.len() as i64 * request.order.frames() as i64;
        zone.fold_in(&set.delta, -frames);

        let ring = guard.ring(id, request.mobility, class);
        let RingSize { limit, .. } = zone.ring_size(class.index());
        ring.open(limit, request.order);
        ring.fill(batch.as_slice());
        ring.pop()
    }

    /// Takes one folio from the lines.
    #[cold]
    fn take_from_lines(&self, zone: &Zone, request: &AllocRequest, look: Look) -> Option<Entry> {
        let id = zone.id();
        if !self.is_above(id, zone, request, look.mark) {
            return None;
        }
        let want = Want {
            order: request.order,
            mobility: request.mobility,
            count: 1,
        };
        let mut batch = Batch::new();
        let found = self.search_lines(zone, want, None, look, &mut batch);
        let entry = *batch.as_slice().first()?;
        zone.free
            .fetch_sub(request.order.frames() as i64, Ordering::Relaxed);
        self.shared.add(Event::Fallback, u64::from(found.fallback));
        self.shared.add(Event::Steal, u64::from(found.stole));
        self.shared
            .add(Event::alloc_from(zone.kind()), request.order.frames());
        self.shared.add(Event::Request, 1);
        Some(entry)
    }

    /// Searches the lines with interrupts masked, because claims are taken.
    fn search_lines(
        &self,
        zone: &Zone,
        want: Want,
        current: Option<&AtomicU32>,
        look: Look,
        into: &mut Batch,
    ) -> Found {
        let saved = self.platform.irq_save();
        let found = self.blocks.search(zone, want, current, into);
        if into.is_empty() && look.everywhere {
            self.blocks.search_all(zone, Want { count: 1, ..want }, into);
        }
        self.platform.irq_restore(saved);
        found
    }

    /// Whether the zone would still be above `mark` without this folio.
    ///
    /// # Linux source concept
    /// `__zone_watermark_ok()`, without its search for a large enough block,
    /// which the attempt itself makes.
    pub(super) fn is_above(&self, id: ZoneId, zone: &Zone, request: &AllocRequest, mark: Mark) -> bool {
        let keep = self.keep(zone, request, mark) as i64;
        let frames = request.order.frames() as i64;
        let rough = zone.free.load(Ordering::Relaxed);
        // Far above the mark, what CPUs have not folded in does not matter.
        rough - frames >= keep + zone.fold_at() * self.cpus.len() as i64
            || self.free_exactly(id, zone) as i64 - frames >= keep - self.not_set_aside(id, zone, request)
    }

    /// How many folios could be taken before the mark is reached, at least one.
    fn room_above(&self, id: ZoneId, zone: &Zone, request: &AllocRequest, mark: Mark) -> u32 {
        let keep = self.keep(zone, request, mark) as i64;
        let rough = zone.free.load(Ordering::Relaxed);
        let plenty = keep + zone.fold_at() * self.cpus.len() as i64 + 64 * request.order.frames() as i64;
        if rough >= plenty {
            return u32::MAX;
        }
        let keep = keep - self.not_set_aside(id, zone, request);
        let room = (self.free_exactly(id, zone) as i64 - keep) >> request.order.raw();
        room.clamp(1, i64::from(u32::MAX)) as u32
    }

    fn keep(&self, zone: &Zone, request: &AllocRequest, mark: Mark) -> u64 {
        // A raised zone wakes reclaim earlier; nobody is refused for it.
        let boost = if mark == Mark::Low { zone.boost() } else { 0 };
        let level = zone.level(mark) + boost;
        let kept = match mark {
            Mark::Min => keep_back(level, request.effort),
            Mark::None | Mark::Low | Mark::High => level,
        };
        let reserve = if mark == Mark::None {
            0
        } else {
            zone.levels.reserve(request.zone)
        };
        // What contiguous areas lend is of no use to those who cannot move.
        let out_of_reach = match request.mobility {
            Mobility::Movable => 0,
            Mobility::Unmovable | Mobility::Reclaimable => zone.free_cma(),
        };
        kept + reserve + out_of_reach + self.set_aside_from(zone, request)
    }

    /// Frames of blocks that are set aside for others than this request.
    fn set_aside_from(&self, zone: &Zone, request: &AllocRequest) -> u64 {
        match request.effort.counts_set_aside() {
            true => 0,
            false => zone.reserved_high_atomic(),
        }
    }

    /// What of these is not free anyway: so much too much [`keep`](Self::keep) says.
    fn not_set_aside(&self, id: ZoneId, zone: &Zone, request: &AllocRequest) -> i64 {
        match self.set_aside_from(zone, request) {
            0 => 0,
            reserved => reserved as i64 - self.free_high_atomic(id) as i64,
        }
    }

    /// Makes the folio ready for its new owner.
    #[inline(never)]
    fn hand_out(&self, entry: Entry, what: What) -> Frame<'_, P> {
        let pfn = entry.pfn();
        if what.fill == Fill::Zeroes && !entry.is_fresh() {
            self.zero(pfn, what.order);
        }
        self.record(pfn).begin(what.order, what.owner);
        Frame::new(self, pfn)
    }

    fn zero(&self, pfn: foliant_units::Pfn, order: Order) {
        self.count(Event::Zeroed, order.frames());
        for at in 0..order.frames() {
            self.content(pfn + at).zero();
        }
    }

    #[cold]
    fn failed(&self, request: &AllocRequest, error: AllocError) -> AllocError {
        self.count(Event::Request, 1);
        self.count(Event::Fail, 1);
        if request.on_failure == OnFailure::Warn {
            self.count(Event::FailWarn, 1);
        }
        if error == AllocError::OutOfMemory {
            self.warn(request);
        }
        error
    }
}
