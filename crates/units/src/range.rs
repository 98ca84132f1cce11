//! Half-open ranges of addresses and numbers.

use core::fmt;

use crate::addr::{PhysAddr, VirtAddr};
use crate::page::{Pfn, Vpn};

macro_rules! range {
    ($(#[$doc:meta])* $name:ident, $unit:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name {
            /// First one inside.
            pub start: $unit,
            /// First one past the end.
            pub end: $unit,
        }

        impl $name {
            /// `start..end`; an `end` before `start` gives an empty range.
            pub const fn new(start: $unit, end: $unit) -> Self {
                let end = if end.raw() < start.raw() { start } else { end };
                Self { start, end }
            }

            /// `count` units from `start`; `None` on wrap-around.
            pub const fn sized(start: $unit, count: u64) -> Option<Self> {
                match start.checked_add(count) {
                    Some(end) => Some(Self { start, end }),
                    None => None,
                }
            }

            /// Units inside.
            pub const fn len(self) -> u64 {
                self.end.raw() - self.start.raw()
            }

            /// Whether nothing is inside.
            pub const fn is_empty(self) -> bool {
                self.end.raw() == self.start.raw()
            }

            /// Whether `at` is inside.
            pub const fn contains(self, at: $unit) -> bool {
                self.start.raw() <= at.raw() && at.raw() < self.end.raw()
            }

            /// Whether all of `other` is inside; an empty `other` is inside
            /// if its start is, or is this range's end.
            pub const fn covers(self, other: Self) -> bool {
                self.start.raw() <= other.start.raw() && other.end.raw() <= self.end.raw()
            }

            /// Whether the two share a unit.
            pub const fn overlaps(self, other: Self) -> bool {
                self.start.raw() < other.end.raw() && other.start.raw() < self.end.raw()
            }

            /// What the two share; empty when they share nothing.
            pub const fn intersect(self, other: Self) -> Self {
                let start = if self.start.raw() > other.start.raw() { self.start } else { other.start };
                let end = if self.end.raw() < other.end.raw() { self.end } else { other.end };
                Self::new(start, end)
            }

            /// Each unit, in order.
            pub fn iter(self) -> impl DoubleEndedIterator<Item = $unit> {
                (self.start.raw()..self.end.raw()).map($unit::new)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}..{:#x}", self.start, self.end.raw())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}..{:#x}", self.start.raw(), self.end.raw())
            }
        }
    };
}

range! {
    /// Virtual bytes.
    VirtRange, VirtAddr
}
range! {
    /// Physical bytes.
    PhysRange, PhysAddr
}
range! {
    /// Virtual pages.
    VpnRange, Vpn
}
range! {
    /// Physical frames.
    PfnRange, Pfn
}

impl VpnRange {
    /// The bytes of these pages.
    pub const fn bytes(self) -> VirtRange {
        VirtRange {
            start: self.start.base(),
            end: self.end.base(),
        }
    }
}

impl VirtRange {
    /// The pages of this range, whose ends must be page-aligned.
    pub const fn pages(self) -> VpnRange {
        debug_assert!(self.start.is_aligned() && self.end.is_aligned());
        VpnRange {
            start: self.start.page(),
            end: self.end.page(),
        }
    }
}

impl PfnRange {
    /// The bytes of these frames.
    pub const fn bytes(self) -> PhysRange {
        PhysRange {
            start: self.start.base(),
            end: self.end.base(),
        }
    }
}

impl PhysRange {
    /// The whole frames inside this range: the start rounded up, the end down.
    pub const fn whole_frames(self) -> PfnRange {
        let first = self.start.raw().div_ceil(crate::PAGE_SIZE as u64);
        PfnRange::new(Pfn::new(first), self.end.frame())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(start: u64, end: u64) -> VpnRange {
        VpnRange::new(Vpn::new(start), Vpn::new(end))
    }

    #[test]
    fn touching_ranges_do_not_overlap() {
        assert!(!pages(1, 4).overlaps(pages(4, 6)));
        assert!(pages(1, 5).overlaps(pages(4, 6)));
        assert_eq!(pages(1, 5).intersect(pages(4, 6)), pages(4, 5));
        assert!(pages(1, 2).intersect(pages(4, 6)).is_empty());
    }

    #[test]
    fn a_range_that_wraps_is_refused() {
        assert_eq!(VirtRange::sized(VirtAddr::new(u64::MAX - 1), 4), None);
    }

    #[test]
    fn only_whole_frames_count_as_ram() {
        let ragged = PhysRange::new(PhysAddr::new(0x1001), PhysAddr::new(0x3fff));
        assert_eq!(ragged.whole_frames(), PfnRange::new(Pfn::new(2), Pfn::new(3)));
    }
}
