//! Numbers for `/proc/buddyinfo`, `/proc/pagetypeinfo`, `/proc/zoneinfo` and
//! `/proc/meminfo`.

use foliant_platform::Platform;
use foliant_units::MAX_ORDER;

use crate::phys::Phys;
use crate::zone::{Zone, ZoneId};

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
    /// The same by the mobility that their blocks are given to (`/proc/pagetypeinfo`).
    pub by_mobility: [FreeByOrder; 3],
    /// Blocks given to each mobility.
    pub blocks: [u64; 3],
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
            let held = zone.reserve.iter().max().copied().unwrap_or(0) + zone.marks.high;
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
            let mobility = self.blocks.tags[block].mobility();
            stats.blocks[mobility.index()] += 1;
            self.blocks.lines[block].tally(&mut stats.by_mobility[mobility.index()]);
        }
        self.join_pairs(zone, &mut stats);
        for of_mobility in &stats.by_mobility {
            for (sum, count) in stats.by_order.iter_mut().zip(of_mobility) {
                *sum += count;
            }
        }
        stats
    }

    /// Two whole blocks side by side are one folio of order 10.
    fn join_pairs(&self, zone: &Zone, stats: &mut ZoneStats) {
        let whole = |block: usize| zone.blocks().contains(&block) && self.blocks.lines[block].is_whole();
        for block in zone.blocks().filter(|block| block % 2 == 0) {
            if whole(block) && whole(block + 1) {
                for half in [block, block + 1] {
                    let mobility = self.blocks.tags[half].mobility();
                    let whole = &mut stats.by_mobility[mobility.index()][9];
                    *whole = whole.saturating_sub(1);
                }
                stats.by_mobility[self.blocks.tags[block].mobility().index()][10] += 1;
            }
        }
    }

    /// Frames of a zone in the rings of all CPUs.
    fn cached(&self, id: ZoneId) -> u64 {
        let of_set = |cpu| -> u64 {
            let rings = self.cpus.zone_rings(cpu, id).iter().enumerate();
            rings
                .map(|(at, ring)| ring.len() as u64 * crate::alloc::ring_order(at).frames())
                .sum()
        };
        (0..self.cpus.len()).map(of_set).sum()
    }
}
