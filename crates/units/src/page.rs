//! Page and frame numbers, and the sizes a page can have.

use core::fmt;

use crate::addr::{PhysAddr, VirtAddr};
use crate::order::Order;

/// log2 of the base page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a base page or frame.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// Clears the offset inside a base page.
pub const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $addr:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Number zero.
            pub const ZERO: Self = Self(0);

            /// Wraps a raw number.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number.
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// The raw number as an index into an array of records.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The address of the first byte.
            pub const fn base(self) -> $addr {
                $addr::new(self.0 << PAGE_SHIFT)
            }

            /// The number `count` further; `None` on wrap-around.
            pub const fn checked_add(self, count: u64) -> Option<Self> {
                match self.0.checked_add(count) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Rounds down to a multiple of `count`, a power of two.
            pub const fn align_down(self, count: u64) -> Self {
                Self(self.0 & !(count - 1))
            }

            /// Rounds up to a multiple of `count`, a power of two.
            pub const fn align_up(self, count: u64) -> Self {
                Self((self.0 + (count - 1)) & !(count - 1))
            }

            /// Whether this is a multiple of `count`, a power of two.
            pub const fn is_aligned_to(self, count: u64) -> bool {
                self.0 & (count - 1) == 0
            }
        }

        impl core::ops::Add<u64> for $name {
            type Output = Self;
            fn add(self, count: u64) -> Self {
                Self(self.0 + count)
            }
        }

        impl core::ops::AddAssign<u64> for $name {
            fn add_assign(&mut self, count: u64) {
                self.0 += count;
            }
        }

        impl core::ops::Sub<u64> for $name {
            type Output = Self;
            fn sub(self, count: u64) -> Self {
                Self(self.0 - count)
            }
        }

        impl core::ops::Sub for $name {
            type Output = u64;
            fn sub(self, earlier: Self) -> u64 {
                self.0 - earlier.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, ":{:#x}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

number! {
    /// A virtual page number: a [`VirtAddr`] without its offset.
    Vpn, VirtAddr, "vpn"
}

number! {
    /// A page frame number: a [`PhysAddr`] without its offset.
    Pfn, PhysAddr, "pfn"
}

impl Pfn {
    /// The other half of the block of the next order.
    pub const fn buddy(self, order: Order) -> Self {
        Self(self.0 ^ order.frames())
    }
}

/// The size of one translation: which level of the tables holds the leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageSize {
    /// 4 KiB, a PTE.
    Size4K,
    /// 2 MiB, a PMD leaf.
    Size2M,
    /// 1 GiB, a PUD leaf.
    Size1G,
}

impl PageSize {
    /// log2 of the size in bytes.
    pub const fn shift(self) -> u32 {
        match self {
            PageSize::Size4K => 12,
            PageSize::Size2M => 21,
            PageSize::Size1G => 30,
        }
    }

    /// Size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Size in base pages.
    pub const fn pages(self) -> u64 {
        1 << (self.shift() - PAGE_SHIFT)
    }
}
