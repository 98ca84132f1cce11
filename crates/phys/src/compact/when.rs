//! When to compact, and for how long.

use foliant_platform::Platform;
use foliant_units::Order;

use super::index::Fragmentation;
use super::scan::{By, Goal, Reached, Scanners};
use crate::alloc::{AllocRequest, Entry, Event};
use crate::boot::NodeId;
use crate::migrate::Migrator;
use crate::phys::Phys;
use crate::zone::{Mark, Zone, ZoneId};

/// What compaction came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Compacted {
    /// Nothing was done: there is what is wanted, or too little is free for it
    /// to be made, or nobody can move folios.
    Skipped,
    /// The scanners met without success.
    Complete,
    /// There is what is wanted now.
    Success,
}

impl<P: Platform> Phys<P> {
    /// Compacts one zone until it has a free folio of `order`.
    ///
    /// # Locking
    /// The caller holds no spin lock: the migrator may wait.
    ///
    /// # Linux source concept
    /// `compact_zone()`. Differs: blocks without any free frame are not emptied,
    /// and whole ones not used as room.
    pub fn compact_zone(&self, id: ZoneId, order: Order, migrator: &dyn Migrator) -> Compacted {
        self.compact(id, order, By::Owner, migrator)
    }

    pub(super) fn compact(&self, id: ZoneId, order: Order, by: By, migrator: &dyn Migrator) -> Compacted {
        if !self.could_help(id, order) {
            return Compacted::Skipped;
        }
        match Scanners::new(self, id, by).run(&Goal::Folio(order), migrator) {
            Reached::No => Compacted::Complete,
            Reached::Yes | Reached::Captured(_) => Compacted::Success,
        }
    }

    /// Compacts the zones of a node until each has a free folio of `order`: what
    /// a machine's compaction thread does when it is woken.
    ///
    /// # Linux source concept
    /// `kcompactd_do_work()`.
    pub fn compact_node(&self, node: NodeId, order: Order, migrator: &dyn Migrator) -> Compacted {
        let mut best = Compacted::Skipped;
        for (id, _) in self.zones.iter().filter(|(_, zone)| zone.node() == node) {
            best = best.max(self.compact_zone(id, order, migrator));
        }
        best
    }

    /// Compacts the zones of a node as far as that goes (`vm.compact_memory`).
    ///
    /// # Linux source concept
    /// `compact_node()` for a write to the knob.
    pub fn compact_all(&self, node: NodeId, migrator: &dyn Migrator) {
        for (id, _) in self.zones.iter().filter(|(_, zone)| zone.node() == node) {
            Scanners::new(self, id, By::Owner).run(&Goal::Until(&|| false), migrator);
        }
    }

    /// Compacts a node that is more fragmented than `proactiveness` (0 to 100,
    /// `vm.compaction_proactiveness`) allows, before anybody asks.
    /// [`Success`](Compacted::Success) if it is less so afterwards.
    ///
    /// # Linux source concept
    /// `should_proactive_compact_node()`, `compact_node()` of `kcompactd()`.
    pub fn compact_proactively(
        &self,
        node: NodeId,
        proactiveness: u32,
        migrator: &dyn Migrator,
    ) -> Compacted {
        let Some(limits) = Limits::of(proactiveness) else {
            return Compacted::Skipped;
        };
        let before = self.fragmentation_score(node);
        if before <= limits.high {
            return Compacted::Skipped;
        }
        for (id, _) in self.zones.iter().filter(|(_, zone)| zone.node() == node) {
            let enough = || self.fragmentation(id).external(Order::PMD) <= limits.low;
            if !enough() {
                Scanners::new(self, id, By::Daemon).run(&Goal::Until(&enough), migrator);
            }
        }
        match self.fragmentation_score(node) < before {
            true => Compacted::Success,
            false => Compacted::Complete,
        }
    }

    /// Whether a look at the blocks of a node may show that it is more
    /// fragmented than [the setting](Phys::proactiveness) allows. Cheap: goes by
    /// what is counted anyway.
    pub fn may_be_fragmented(&self, node: NodeId) -> bool {
        let score = |id, zone: &Zone| {
            let free = self.free_exactly(id, zone);
            let scattered = free.saturating_sub(zone.hinted_whole() * Order::PMD.frames());
            self.weighted(zone, scattered * 100 / free.max(1))
        };
        let of_node = self.zones.iter().filter(|(_, zone)| zone.node() == node);
        let sum: u64 = of_node.map(|(id, zone)| score(id, zone)).sum();
        Limits::of(self.proactiveness()).is_some_and(|limits| sum > limits.high)
    }

    /// How fragmented a node is for huge pages, 0 to 100, each zone by its size.
    ///
    /// # Linux source concept
    /// `fragmentation_score_node()`.
    pub fn fragmentation_score(&self, node: NodeId) -> u64 {
        let of_node = self.zones.iter().filter(|(_, zone)| zone.node() == node);
        let score = |id, zone| self.weighted(zone, self.fragmentation(id).external(Order::PMD));
        of_node.map(|(id, zone)| score(id, zone)).sum()
    }

    /// The part of its node's score that the score of a zone is.
    ///
    /// # Linux source concept
    /// `fragmentation_score_zone_weighted()`.
    fn weighted(&self, zone: &Zone, score: u64) -> u64 {
        let of_node = self.zones.iter().filter(|(_, other)| other.node() == zone.node());
        let present: u64 = of_node.map(|(_, other)| other.present()).sum();
        zone.present() * score / (present + 1)
    }

    /// The free folios of a zone, judged.
    pub fn fragmentation(&self, id: ZoneId) -> Fragmentation {
        Fragmentation::of(self.zone_stats(id).by_order)
    }

    /// Whether there is enough in small pieces for a folio of `order`, and none yet.
    ///
    /// # Linux source concept
    /// `compaction_suitable()`.
    fn could_help(&self, id: ZoneId, order: Order) -> bool {
        let zone = self.zones.get(id);
        let gap = 2 * order.frames();
        if order == Order::ZERO
            || self.free_exactly(id, zone) + self.cached(id) < zone.watermarks().at(Mark::Min) + gap
        {
            return false;
        }
        let index = self.fragmentation(id).index(order);
        // Small pieces in rings are not counted by the index, so a low one does
        // not rule compaction out for orders that are worth little.
        index != -1000 && (index > i64::from(self.fragmentation_threshold()) || order.raw() <= 3)
    }

    /// Compacts on the time of a request that found no folio of its order. What
    /// comes free is the request's: others cannot be faster.
    ///
    /// # Linux source concept
    /// `__alloc_pages_direct_compact()`, `try_to_compact_pages()`.
    pub(crate) fn compact_for(&self, request: &AllocRequest, again: Deferring) -> Captured {
        let Some(migrator) = self.migrator() else {
            return Captured::Nothing;
        };
        let mut stalled = false;
        let goal = Goal::Capture(request.order, request.mobility);
        for (id, zone) in self
            .zones
            .for_request(request.zone, request.node, self.local_node())
        {
            let deferred = again == Deferring::Heed && zone.deferral.is_deferred(request.order);
            if deferred || !self.could_help(id, request.order) {
                continue;
            }
            stalled = true;
            match Scanners::new(self, id, By::Owner).run(&goal, &*migrator) {
                Reached::No => zone.deferral.defer(request.order),
                Reached::Yes => {
                    zone.deferral.reset(request.order, false);
                    self.stalled(Event::CompactSuccess);
                    return Captured::Made;
                }
                Reached::Captured(entry) => {
                    zone.deferral.reset(request.order, true);
                    self.stalled(Event::CompactSuccess);
                    return Captured::Folio(entry);
                }
            }
        }
        if stalled {
            self.stalled(Event::CompactFail);
        }
        Captured::Nothing
    }

    fn stalled(&self, event: Event) {
        self.count(Event::CompactStall, 1);
        self.count(event, 1);
    }
}

/// Whether a request is compacted for although that failed lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deferring {
    /// Not too often.
    Heed,
    /// The request has tried all else.
    Ignore,
}

/// What a request got out of compaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Captured {
    /// Nothing.
    Nothing,
    /// There is a folio of its order somewhere.
    Made,
    /// It has its folio.
    Folio(Entry),
}

/// Scores above which a node is compacted ahead of need, and down to which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Limits {
    low: u64,
    high: u64,
}

impl Limits {
    /// Those of a proactiveness; none if it is zero.
    ///
    /// # Linux source concept
    /// `fragmentation_score_wmark()`.
    fn of(proactiveness: u32) -> Option<Self> {
        let low = 100u64.saturating_sub(proactiveness.into());
        let high = (low + (low / 2).min(10)).min(100);
        (proactiveness != 0).then_some(Self { low, high })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_more_proactive_the_closer_the_limits() {
        let limits = |proactiveness| Limits::of(proactiveness).map(|limits| (limits.low, limits.high));
        assert_eq!(limits(0), None);
        assert_eq!(limits(1), Some((99, 100)));
        assert_eq!(limits(20), Some((80, 90)));
        assert_eq!(limits(90), Some((10, 15)));
        assert_eq!(limits(100), Some((0, 0)));
    }
}
