//! Blocks set aside for those who cannot wait and need more than one frame.
//!
//! When such a request was served although memory is low, the block it was
//! served from is kept for others like it, up to a hundredth of the zone; under
//! pressure it is given back.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::Order;

use super::blocks::{Blocks, block_of};
use super::entry::{Batch, Entry};
use super::events::Event;
use super::hints::map_of;
use super::kind::BlockKind;
use super::line::BLOCK;
use super::request::{AllocRequest, Effort};
use super::search::Want;
use super::tag::Level;
use crate::phys::Phys;
use crate::zone::{Mark, Zone, ZoneId};

/// Levels of blocks with something free, the fullest first.
const LEVELS: [Level; 5] = [Level::Dust, Level::Low, Level::Mid, Level::High, Level::Whole];

impl Blocks {
    /// Calls `visit` with the blocks set aside that have something free, until
    /// it answers with something.
    fn each_high_atomic<R>(&self, zone: &Zone, mut visit: impl FnMut(usize) -> Option<R>) -> Option<R> {
        for map in LEVELS
            .iter()
            .filter_map(|&level| map_of(BlockKind::HighAtomic, level))
        {
            let mut from = 0;
            while let Some(block) = self.hints.next(zone, map, from) {
                from = block + 1;
                if let Some(result) = visit(block) {
                    return Some(result);
                }
            }
        }
        None
    }
}

impl Effort {
    /// Whether the request counts what is set aside as free.
    ///
    /// # Linux source concept
    /// `ALLOC_RESERVES`.
    pub(crate) const fn counts_set_aside(self) -> bool {
        matches!(
            self,
            Self::Atomic | Self::NoWait | Self::Urgent | Self::Victim | Self::Reserves
        )
    }

    /// Whether it gets that when nothing else is left.
    ///
    /// # Linux source concept
    /// `ALLOC_OOM | ALLOC_NON_BLOCK`, `rmqueue_buddy()`.
    const fn may_take_set_aside(self) -> bool {
        matches!(self, Self::Atomic | Self::NoWait | Self::Victim)
    }
}

impl AllocRequest {
    /// Whether blocks are set aside for the likes of it.
    ///
    /// # Linux source concept
    /// `ALLOC_HIGHATOMIC`.
    fn is_high_atomic(&self) -> bool {
        self.effort == Effort::Atomic && self.order > Order::ZERO && self.order <= Order::PMD
    }
}

impl<P: Platform> Phys<P> {
    /// Free frames in blocks of a zone that are set aside for atomic requests
    /// (`nr_free_highatomic`).
    pub fn free_high_atomic(&self, id: ZoneId) -> u64 {
        let zone = self.zones.get(id);
        let mut free = 0;
        if zone.reserved_high_atomic() > 0 {
            let _ = self.blocks.each_high_atomic(zone, |block| {
                free += u64::from(self.blocks.lines[block].count());
                None::<()>
            });
        }
        free
    }

    /// A step of the ladder when memory is low, with what is set aside.
    ///
    /// # Linux source concept
    /// `rmqueue_buddy()` and what `get_page_from_freelist()` does after it.
    pub(super) fn with_set_aside(
        &self,
        request: &AllocRequest,
        attempt: impl FnOnce() -> Option<Entry>,
    ) -> Option<Entry> {
        if request.is_high_atomic()
            && let Some(entry) = self.take_set_aside(request)
        {
            return Some(entry);
        }
        if let Some(entry) = attempt() {
            if request.is_high_atomic() {
                self.set_aside(entry);
            }
            return Some(entry);
        }
        match request.effort.may_take_set_aside() && request.order <= Order::PMD {
            true => self.take_set_aside(request),
            false => None,
        }
    }

    fn take_set_aside(&self, request: &AllocRequest) -> Option<Entry> {
        let local = self.local_node();
        let mut zones = self.zones.for_request(request.zone, request.node, local);
        zones.find_map(|(id, zone)| {
            if zone.reserved_high_atomic() == 0 || !self.is_above(id, zone, request, Mark::Min) {
                return None;
            }
            let want = Want {
                order: request.order,
                mobility: request.mobility,
                count: 1,
            };
            let mut batch = Batch::new();
            let saved = self.platform.irq_save();
            let kind = BlockKind::HighAtomic;
            self.blocks
                .take_from_levels(zone, want, kind, &LEVELS, None, &mut batch);
            self.platform.irq_restore(saved);
            let entry = *batch.as_slice().first()?;
            zone.free
                .fetch_sub(request.order.frames() as i64, Ordering::Relaxed);
            self.count(Event::alloc_from(zone.kind()), request.order.frames());
            self.count(Event::Request, 1);
            Some(entry)
        })
    }

    /// Sets the block of a folio aside, if there are not enough yet.
    ///
    /// # Linux source concept
    /// `reserve_highatomic_pageblock()`.
    fn set_aside(&self, entry: Entry) {
        let block = block_of(entry.pfn());
        let Some(id) = self.blocks.tags[block].zone() else {
            return;
        };
        let zone = self.zones.get(id);
        let hundredth = zone.managed() / 100;
        let most = hundredth.next_multiple_of(BLOCK as u64);
        if hundredth < BLOCK as u64 || zone.reserved_high_atomic() >= most {
            return;
        }
        if self.rekind(block, |tag| tag.set_high_atomic()) {
            zone.high_atomic.fetch_add(BLOCK as u64, Ordering::Relaxed);
        }
    }

    /// Gives a block that was set aside, and has something free, to the mobility
    /// of a request that is in want of memory. The last one of a zone only if
    /// `desperate`.
    ///
    /// # Linux source concept
    /// `unreserve_highatomic_pageblock()`.
    pub(super) fn give_up_set_aside(&self, request: &AllocRequest, desperate: bool) -> bool {
        let local = self.local_node();
        let zones = self.zones.for_request(request.zone, request.node, local);
        zones.into_iter().any(|(_, zone)| {
            let reserved = zone.reserved_high_atomic();
            if reserved == 0 || !desperate && reserved <= BLOCK as u64 {
                return false;
            }
            let Some(block) = self.blocks.each_high_atomic(zone, Some) else {
                return false;
            };
            let given = self.rekind(block, |tag| tag.end_high_atomic(request.mobility));
            if given {
                zone.high_atomic.fetch_sub(BLOCK as u64, Ordering::Relaxed);
            }
            given
        })
    }
}
