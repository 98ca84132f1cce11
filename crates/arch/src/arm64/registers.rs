//! The registers that say where tables are and how they look.

use foliant_units::{PhysAddr, VirtAddr};

/// TCR_EL1 (Arm ARM D19.2.139 "Translation Control Register").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcr(pub u64);

/// Which of the two roots an address belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Half {
    /// TTBR0: programs.
    Low,
    /// TTBR1: the kernel.
    High,
}

impl Half {
    /// The half of `at` (bit 55 decides, so that tags do not matter).
    pub const fn of(at: VirtAddr) -> Self {
        if at.raw() >> 55 & 1 == 0 {
            Self::Low
        } else {
            Self::High
        }
    }
}

/// The size of tables and of the smallest pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Granule {
    /// 4 KiB.
    Small,
    /// 16 KiB.
    Middle,
    /// 64 KiB.
    Large,
}

impl Granule {
    /// log2 of its bytes.
    pub const fn shift(self) -> u32 {
        match self {
            Self::Small => 12,
            Self::Middle => 14,
            Self::Large => 16,
        }
    }
}

impl Tcr {
    /// Bits of an address of `half` (64 less T0SZ or T1SZ).
    pub const fn address_bits(self, half: Half) -> u32 {
        let size = match half {
            Half::Low => self.0,
            Half::High => self.0 >> 16,
        };
        64 - (size & 0x3f) as u32
    }

    /// The granule of `half` (TG0, TG1); `None` for a reserved value.
    pub const fn granule(self, half: Half) -> Option<Granule> {
        // The two fields number the granules differently.
        match (half, (self.0 >> 14 & 3, self.0 >> 30 & 3)) {
            (Half::Low, (0, _)) | (Half::High, (_, 2)) => Some(Granule::Small),
            (Half::Low, (2, _)) | (Half::High, (_, 1)) => Some(Granule::Middle),
            (Half::Low, (1, _)) | (Half::High, (_, 3)) => Some(Granule::Large),
            _ => None,
        }
    }

    /// Whether the top byte of an address of `half` is ignored (TBI0, TBI1).
    pub const fn ignores_top_byte(self, half: Half) -> bool {
        match half {
            Half::Low => self.0 >> 37 & 1 != 0,
            Half::High => self.0 >> 38 & 1 != 0,
        }
    }

    /// Whether the hardware sets access flags (HA).
    pub const fn hardware_access(self) -> bool {
        self.0 >> 39 & 1 != 0
    }

    /// Whether the hardware keeps dirty state (HD).
    pub const fn hardware_dirty(self) -> bool {
        self.0 >> 40 & 1 != 0
    }
}

/// The table that TTBR0 or TTBR1 points to: without ASID and CnP; with 52-bit
/// physical addresses (`extended`) its bits 2 to 5 are address bits 48 to 51.
pub const fn table_of(ttbr: u64, extended: bool) -> PhysAddr {
    let low = ttbr & 0xffff_ffff_fffe;
    if extended {
        PhysAddr::new(low & !0x3f | (ttbr >> 2 & 0xf) << 48)
    } else {
        PhysAddr::new(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_of_a_debian_kernel_is_understood() {
        let tcr = Tcr(0x0050_0074_b550_3510);
        for half in [Half::Low, Half::High] {
            assert_eq!(tcr.address_bits(half), 48);
            assert_eq!(tcr.granule(half), Some(Granule::Small));
        }
        assert!(tcr.ignores_top_byte(Half::Low) && !tcr.hardware_access());
        assert_eq!(table_of(0x002b_0000_4185_1000, false), PhysAddr::new(0x4185_1000));
    }
}
