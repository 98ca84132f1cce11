//! Byte addresses, virtual and physical.

use core::fmt;

use crate::page::{PAGE_MASK, PAGE_SHIFT, Pfn, Vpn};

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $number:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Address zero.
            pub const ZERO: Self = Self(0);

            /// Wraps a raw byte address. Every bit pattern is accepted:
            /// whether an address is canonical or backed is asked elsewhere.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw byte address.
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// Bytes from the start of the 4 KiB page or frame.
            pub const fn offset(self) -> usize {
                (self.0 & !PAGE_MASK) as usize
            }

            /// Whether the address starts a 4 KiB page or frame.
            pub const fn is_aligned(self) -> bool {
                self.0 & !PAGE_MASK == 0
            }

            /// Whether the address is a multiple of `align`, a power of two in bytes.
            pub const fn is_aligned_to(self, align: u64) -> bool {
                self.0 & (align - 1) == 0
            }

            /// Rounds down to a multiple of `align`, a power of two in bytes.
            pub const fn align_down(self, align: u64) -> Self {
                Self(self.0 & !(align - 1))
            }

            /// Rounds up to a multiple of `align`, a power of two in bytes;
            /// `None` if that passes the end of the address space.
            pub const fn align_up(self, align: u64) -> Option<Self> {
                match self.0.checked_add(align - 1) {
                    Some(sum) => Some(Self(sum & !(align - 1))),
                    None => None,
                }
            }

            /// The address `bytes` further; `None` on wrap-around.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The address `bytes` before; `None` below zero.
            pub const fn checked_sub(self, bytes: u64) -> Option<Self> {
                match self.0.checked_sub(bytes) {
                    Some(rest) => Some(Self(rest)),
                    None => None,
                }
            }

            /// The 4 KiB page or frame that holds this byte.
            pub const fn number(self) -> $number {
                $number::new(self.0 >> PAGE_SHIFT)
            }
        }

        impl core::ops::Add<u64> for $name {
            type Output = Self;
            fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl core::ops::Sub<u64> for $name {
            type Output = Self;
            fn sub(self, bytes: u64) -> Self {
                Self(self.0 - bytes)
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

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A virtual byte address: what a program or the kernel dereferences.
    VirtAddr, Vpn, "va"
}

address! {
    /// A physical byte address: what the page tables produce.
    PhysAddr, Pfn, "pa"
}

impl VirtAddr {
    /// The page that holds this byte.
    pub const fn page(self) -> Vpn {
        self.number()
    }

    /// Whether the top bits repeat bit `bits - 1`, as the hardware demands of
    /// every address it translates (`bits` is 48 with four levels, 57 with five).
    pub const fn is_canonical(self, bits: u32) -> bool {
        let shift = 64 - bits;
        (((self.0 << shift) as i64) >> shift) as u64 == self.0
    }
}

impl PhysAddr {
    /// The frame that holds this byte.
    pub const fn frame(self) -> Pfn {
        self.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_repeat_the_top_bit() {
        assert!(VirtAddr::new(0x7fff_ffff_ffff).is_canonical(48));
        assert!(!VirtAddr::new(0x8000_0000_0000).is_canonical(48));
        assert!(VirtAddr::new(0xffff_8000_0000_0000).is_canonical(48));
        assert!(VirtAddr::new(0x8000_0000_0000).is_canonical(57));
        assert!(!VirtAddr::new(0xff00_0000_0000_0000 - 1).is_canonical(57));
    }

    #[test]
    fn rounding_up_reports_the_wrap() {
        assert_eq!(VirtAddr::new(1).align_up(4096), Some(VirtAddr::new(4096)));
        assert_eq!(VirtAddr::new(u64::MAX).align_up(4096), None);
        assert_eq!(VirtAddr::ZERO.align_up(4096), Some(VirtAddr::ZERO));
    }
}
