//! The first megabyte of a PC.

use foliant_units::{PhysAddr, PhysRange};

const fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

/// What real mode and the firmware put where.
pub const FIRST_MEGABYTE: [(&str, PhysRange); 6] = [
    ("Interrupt vectors", range(0, 0x400)),
    ("BIOS data area", range(0x400, 0x500)),
    ("Video RAM area", range(0xa_0000, 0xc_0000)),
    ("Video ROM", range(0xc_0000, 0xc_8000)),
    ("Adapter ROM", range(0xc_8000, 0xf_0000)),
    ("System ROM", range(0xf_0000, 0x10_0000)),
];

/// From the end of conventional memory to 1 MiB: devices and ROM, whatever the
/// firmware says.
pub const BIOS_HOLE: PhysRange = range(0xa_0000, 0x10_0000);

/// What is never used below 1 MiB: the vectors, the firmware's data, and room
/// that firmware is known to write to.
pub const REAL_MODE: PhysRange = range(0, 0x1_0000);

/// What the firmware's data area says about conventional memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BiosData {
    /// KiB of conventional memory (the word at 0x413); zero if it is not known.
    pub conventional_kib: u16,
    /// Segment of the extended BIOS data area (the word at 0x40e); zero if
    /// there is none.
    pub ebda_segment: u16,
}

impl BiosData {
    /// What to keep off: from the lowest place that the firmware may use
    /// below 640 KiB up to 1 MiB. Values out of all reason are not believed.
    ///
    /// # Linux source concept
    /// `reserve_bios_regions()`.
    pub const fn firmware_range(self) -> PhysRange {
        const LEAST: u64 = 0x2_0000;
        const MOST: u64 = 0x9_f000;
        let mut start = (self.conventional_kib as u64) << 10;
        if start < LEAST || start > MOST {
            start = MOST;
        }
        let ebda = (self.ebda_segment as u64) << 4;
        if ebda >= LEAST && ebda < start {
            start = ebda;
        }
        range(start, BIOS_HOLE.end.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_is_believed_within_reason() {
        let start = |conventional_kib, ebda_segment| {
            let data = BiosData {
                conventional_kib,
                ebda_segment,
            };
            data.firmware_range().start.raw()
        };
        assert_eq!(start(0, 0), 0x9f000);
        assert_eq!(start(639, 0), 0x9f000);
        assert_eq!(start(600, 0), 600 << 10);
        assert_eq!(start(639, 0x9000), 0x90000);
        assert_eq!(start(600, 0x9fc0), 600 << 10);
        assert_eq!(start(64, 0x1000), 0x9f000);
    }
}
