//! Power-of-two block sizes.

use core::fmt;

use crate::page::PAGE_SIZE;

/// The largest order that the frame allocator hands out (Linux's `MAX_PAGE_ORDER`).
pub const MAX_ORDER: Order = Order(10);

/// log2 of a number of frames: a block of order *n* has 2^n frames and starts
/// at a multiple of 2^n.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// A single frame.
    pub const ZERO: Self = Self(0);
    /// A block that one PMD maps: 512 frames, 2 MiB.
    pub const PMD: Self = Self(9);

    /// Order `raw`; `None` above [`MAX_ORDER`].
    pub const fn new(raw: u8) -> Option<Self> {
        if raw <= MAX_ORDER.0 { Some(Self(raw)) } else { None }
    }

    /// The smallest order whose block holds `frames` frames; `None` above [`MAX_ORDER`].
    pub const fn covering(frames: u64) -> Option<Self> {
        if frames > 1 << MAX_ORDER.0 {
            return None;
        }
        let frames = if frames == 0 { 1 } else { frames };
        Some(Self(frames.next_power_of_two().trailing_zeros() as u8))
    }

    /// The raw exponent.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// The exponent as an index into a table of orders.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Frames in a block.
    pub const fn frames(self) -> u64 {
        1 << self.0
    }

    /// Bytes in a block.
    pub const fn bytes(self) -> usize {
        PAGE_SIZE << self.0
    }

    /// All orders, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..=MAX_ORDER.0).map(Self)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order:{}", self.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_rounds_up_to_a_power_of_two() {
        assert_eq!(Order::covering(0), Some(Order(0)));
        assert_eq!(Order::covering(1), Some(Order(0)));
        assert_eq!(Order::covering(3), Some(Order(2)));
        assert_eq!(Order::covering(1024), Some(Order(10)));
        assert_eq!(Order::covering(1025), None);
    }
}
