//! A set of folio sizes, and which of them fit where.

use foliant_units::{Order, Vpn, VpnRange};

/// Sizes of folios, as a set of orders.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Orders(u16);

/// The smallest size: two pages would not pay for the bookkeeping.
const SMALLEST: u8 = 2;
/// The largest size; the next one would be a page of its own kind.
const LARGEST: u8 = 8;

impl Orders {
    /// No size.
    pub const NONE: Self = Self(0);

    /// The sizes that private memory can have here: 16 KiB to 1 MiB.
    ///
    /// # Linux source concept
    /// `THP_ORDERS_ALL_ANON`. Differs: without the order of 2 MiB.
    pub const ANONYMOUS: Self = Self((1 << (LARGEST + 1)) - (1 << SMALLEST));

    /// The set of one size.
    pub const fn of(order: Order) -> Self {
        Self(1 << order.raw())
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `order` is one of them.
    pub const fn contains(self, order: Order) -> bool {
        self.0 & Self::of(order).0 != 0
    }

    /// These and those of `other`.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// From the largest to the smallest.
    pub fn descending(self) -> impl Iterator<Item = Order> {
        Order::all().rev().filter(move |order| self.contains(*order))
    }

    /// Those whose block around `page` lies inside `vma`.
    ///
    /// # Linux source concept
    /// `thp_vma_suitable_orders()`.
    pub(crate) fn fitting(self, vma: VpnRange, page: Vpn) -> Self {
        self.filter(|order| vma.covers(block(page, order)))
    }

    /// Those of which `vma` has room for one block, wherever it lies.
    pub(crate) fn with_room(self, vma: VpnRange) -> Self {
        self.filter(|order| {
            let frames = order.frames();
            vma.start.align_up(frames) + frames <= vma.end
        })
    }

    fn filter(self, keep: impl Fn(Order) -> bool) -> Self {
        self.descending()
            .filter(|order| keep(*order))
            .fold(Self::NONE, |orders, order| orders.union(Self::of(order)))
    }
}

/// The pages of the block of `order` around `page`.
pub(crate) fn block(page: Vpn, order: Order) -> VpnRange {
    let start = page.align_down(order.frames());
    VpnRange::new(start, start + order.frames())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(raw: u8) -> Order {
        Order::new(raw).expect("an order")
    }

    fn raw(orders: Orders) -> std::vec::Vec<u8> {
        orders.descending().map(Order::raw).collect()
    }

    fn pages(start: u64, end: u64) -> VpnRange {
        VpnRange::new(Vpn::new(start), Vpn::new(end))
    }

    #[test]
    fn private_memory_has_sizes_from_16_kib_to_1_mib() {
        assert_eq!(raw(Orders::ANONYMOUS), [8, 7, 6, 5, 4, 3, 2]);
    }

    #[test]
    fn a_block_must_lie_inside_the_mapping() {
        let all = Orders::ANONYMOUS;
        assert_eq!(raw(all.fitting(pages(16, 32), Vpn::new(21))), [4, 3, 2]);
        assert_eq!(raw(all.fitting(pages(17, 32), Vpn::new(21))), [2]);
        assert_eq!(raw(all.fitting(pages(17, 32), Vpn::new(24))), [3, 2]);
        assert_eq!(raw(all.fitting(pages(16, 31), Vpn::new(30))), [0_u8; 0]);
        assert_eq!(raw(Orders::of(order(4)).fitting(pages(0, 64), Vpn::new(63))), [4]);
        assert!(Orders::NONE.fitting(pages(0, 512), Vpn::new(9)).is_empty());
    }

    #[test]
    fn room_is_a_matter_of_alignment() {
        let all = Orders::ANONYMOUS;
        assert_eq!(raw(all.with_room(pages(16, 32))), [4, 3, 2]);
        assert_eq!(raw(all.with_room(pages(17, 33))), [3, 2]);
        assert!(all.with_room(pages(17, 23)).is_empty());
    }
}
