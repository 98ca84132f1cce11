//! Numbers for `/proc/buddyinfo`, `/proc/pagetypeinfo`, `/proc/zoneinfo` and
//! `/proc/meminfo`.

use foliant_platform::Platform;
use foliant_units::MAX_ORDER;

use crate::alloc::BlockKind;
use crate::phys::Phys;
use crate::zone::{Mark, ZoneId};

/// Orders that the allocator has.
pub const ORDERS: usize = MAX_ORDER.index() + 1;

/// Free folios of each order, each as large as alignment allows.
pub type FreeByOrder = [u64; ORDERS];

/// The state of one zone at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ZoneStats {
    /// Free frames in the lines (`nr_free_pages`).
    pub free: u64,
    /// Frames in the rings of all CPUs.
    pub cached: u64,
    /// Free folios by order (`/proc/buddyinfo`).
    pub by_order: FreeByOrder,
    /// The same by the kind of their blocks (`/proc/pagetypeinfo`), in the order
    /// of [`BlockKind::index`].
    pub by_kind: [FreeByOrder; BlockKind::COUNT],
    /// Blocks of each kind.
    pub blocks: [u64; BlockKind::COUNT],
}

/// The state of all memory at some moment, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryStats {
    /// What the allocator has to give (`MemTotal`).
    pub total: u64,
    /// What it has not given (`MemFree`): in the lines and in rings.
    pub free: u64,
    /// What of `free` lies in rings.
    pub cached: u64,
    /// What zones keep back below their high watermarks and for lower zones
    /// (`totalreserve_pages`).
    pub reserved: u64,
}

impl<P: Platform> Phys<P> {
    /// The state of all memory. Cheap: does not look at blocks.
    pub fn stats(&self) -> MemoryStats {
        let mut stats = MemoryStats::default();
        for (id, zone) in self.zones.iter() {
            let cached = self.cached(id);
            stats.total += zone.managed();
            stats.free += self.free_exactly(id, zone) + cached;
            stats.cached += cached;
            let held = zone.lowmem_reserve().into_iter().max().unwrap_or(0) + zone.level(Mark::High);
            stats.reserved += held.min(zone.managed());
        }
        stats
    }

    /// The state of one zone: looks at all of its blocks.
    pub fn zone_stats(&self, id: ZoneId) -> ZoneStats {
        let zone = self.zones.get(id);
        let mut stats = ZoneStats {
            free: self.free_exactly(id, zone),
            cached: self.cached(id),
            ..ZoneStats::default()
        };
        for block in zone.blocks() {
            if self.blocks.tags[block].zone() != Some(id) {
                continue;
            }
            let kind = self.blocks.tags[block].kind().index();
            stats.blocks[kind] += 1;
            self.blocks.tally(block, &mut stats.by_kind[kind]);
        }
        self.join_pairs(id, &mut stats);
        for of_kind in &stats.by_kind {
            for (sum, count) in stats.by_order.iter_mut().zip(of_kind) {
                *sum += count;
            }
        }
        stats
    }

    /// Two whole blocks side by side are one folio of order 10. Meaningful while
    /// nobody frees: the counts were taken just before.
    fn join_pairs(&self, id: ZoneId, stats: &mut ZoneStats) {
        let blocks = self.zones.get(id).blocks();
        let whole = |block: usize| self.blocks.tags[block].zone() == Some(id) && self.blocks.is_whole(block);
        for first in blocks.clone().filter(|block| block % 2 == 0) {
            let kinds = [first, first + 1].map(|at| {
                let tag = self.blocks.tags.get(at)?;
                (blocks.contains(&at) && whole(at)).then(|| tag.kind())
            });
            let [Some(one), Some(two)] = kinds else { continue };
            // Mobilities mix; contiguous areas and isolated blocks do not.
            if one == two || one.mobility().is_some() && two.mobility().is_some() {
                let count = &mut stats.by_kind[one.index()][9];
                *count = count.saturating_sub(1);
                let count = &mut stats.by_kind[two.index()][9];
                *count = count.saturating_sub(1);
                stats.by_kind[one.index()][10] += 1;
            }
        }
    }

    /// Frames of a zone in the rings of one CPU.
    pub fn cached_by(&self, cpu: usize, id: ZoneId) -> u64 {
        let rings = self.cpus.zone_rings(cpu, id).iter().enumerate();
        rings
            .map(|(at, ring)| ring.len() as u64 * crate::alloc::RingClass::order_at(at).frames())
            .sum()
    }

    /// Frames of a zone in the rings of all CPUs.
    pub(crate) fn cached(&self, id: ZoneId) -> u64 {
        (0..self.cpus.len()).map(|cpu| self.cached_by(cpu, id)).sum()
    }
}
