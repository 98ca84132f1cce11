//! How fragmented free memory is.

use foliant_units::Order;

use crate::stats::FreeByOrder;

/// The free folios of a zone, judged.
///
/// # Units
/// Thousandths, as in Linux's `extfrag_index` and `unusable_index`.
///
/// # Linux source concept
/// `fill_contig_page_info()`, `__fragmentation_index()`, mm/vmstat.c.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragmentation {
    by_order: FreeByOrder,
}

impl Fragmentation {
    /// For a zone with these free folios.
    pub const fn of(by_order: FreeByOrder) -> Self {
        Self { by_order }
    }

    fn free(&self) -> u64 {
        self.by_order
            .iter()
            .enumerate()
            .map(|(order, count)| count << order)
            .sum()
    }

    /// Folios of `order` that could be had from those that are large enough.
    fn suitable(&self, order: Order) -> u64 {
        let large = self.by_order.iter().enumerate().skip(order.index());
        large.map(|(raw, count)| count << (raw - order.index())).sum()
    }

    /// Why a request of `order` would fail: towards 0 for lack of memory,
    /// towards 1000 because what is free lies in small pieces; -1000 if it would
    /// not fail.
    pub fn index(&self, order: Order) -> i64 {
        let folios: u64 = self.by_order.iter().sum();
        if folios == 0 {
            return 0;
        }
        if self.suitable(order) > 0 {
            return -1000;
        }
        1000 - ((1000 + self.free() * 1000 / order.frames()) / folios) as i64
    }

    /// Which part of what is free lies in folios too small for `order`.
    pub fn unusable(&self, order: Order) -> u64 {
        let free = self.free();
        match free {
            0 => 1000,
            _ => (free - (self.suitable(order) << order.raw())) * 1000 / free,
        }
    }

    /// The same in hundredths, as proactive compaction weighs it; nothing is
    /// not fragmented.
    ///
    /// # Linux source concept
    /// `extfrag_for_order()`.
    pub fn external(&self, order: Order) -> u64 {
        let free = self.free();
        match free {
            0 => 0,
            _ => (free - (self.suitable(order) << order.raw())) * 100 / free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(counts: &[u64]) -> Fragmentation {
        let mut by_order = FreeByOrder::default();
        by_order[..counts.len()].copy_from_slice(counts);
        Fragmentation::of(by_order)
    }

    fn order(raw: u8) -> Order {
        Order::new(raw).unwrap_or_default()
    }

    #[test]
    fn what_would_succeed_is_not_fragmented() {
        assert_eq!(zone(&[5, 0, 1]).index(order(2)), -1000);
        assert_eq!(zone(&[5, 0, 1]).unusable(order(2)), 5000 / 9);
    }

    #[test]
    fn many_small_folios_are_fragmentation_and_few_are_lack_of_memory() {
        assert_eq!(
            zone(&[1000]).index(order(9)),
            1000 - (1000 + 1_000_000 / 512) / 1000
        );
        assert_eq!(zone(&[1]).index(order(9)), 1000 - (1000 + 1000 / 512));
        assert_eq!(zone(&[]).index(order(9)), 0);
        assert_eq!(
            (zone(&[]).unusable(order(9)), zone(&[]).external(order(9))),
            (1000, 0)
        );
    }

    /// The free folios of a zone of a live Linux host.
    #[test]
    fn a_zone_with_large_blocks_is_judged_by_order() {
        let host = zone(&[38691, 26287, 7474, 2845, 1195, 476, 315, 238, 174, 418, 2370]);
        assert_eq!(host.index(order(10)), -1000);
        let free: u64 = 38691
            + 2 * 26287
            + 4 * 7474
            + 8 * 2845
            + 16 * 1195
            + 32 * 476
            + 64 * 315
            + 128 * 238
            + 256 * 174
            + 512 * 418
            + 1024 * 2370;
        assert_eq!(host.unusable(order(10)), (free - 1024 * 2370) * 1000 / free);
    }
}
