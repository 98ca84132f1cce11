//! Where things lie in virtual memory, four levels.

use foliant_units::{VirtAddr, VirtRange};

/// A named part of the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its name, as in Linux's table of the layout.
    pub name: &'static str,
    /// First byte.
    pub start: VirtAddr,
    /// Last byte.
    pub last: VirtAddr,
}

impl Region {
    /// Whether `at` is inside.
    pub const fn contains(&self, at: VirtAddr) -> bool {
        self.start.raw() <= at.raw() && at.raw() <= self.last.raw()
    }
}

/// A layout: regions in ascending order, holes between them.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The regions.
    pub regions: &'static [Region],
    /// What user space may map: one page less than its half, because an
    /// instruction at the very end would return to a non-canonical address.
    pub user: VirtRange,
}

impl Layout {
    /// The region that holds `at`.
    pub fn region(&self, at: VirtAddr) -> Option<&'static Region> {
        self.regions.iter().find(|region| region.contains(at))
    }
}

const fn region(name: &'static str, start: u64, last: u64) -> Region {
    Region {
        name,
        start: VirtAddr::new(start),
        last: VirtAddr::new(last),
    }
}

const FOUR_LEVELS: &[Region] = &[
    region("user", 0x0, 0x7fff_ffff_efff),
    region("guard", 0x7fff_ffff_f000, 0x7fff_ffff_ffff),
    region("hypervisor", 0xffff_8000_0000_0000, 0xffff_87ff_ffff_ffff),
    region("ldt", 0xffff_8800_0000_0000, 0xffff_887f_ffff_ffff),
    region("direct", 0xffff_8880_0000_0000, 0xffff_c87f_ffff_ffff),
    region("vmalloc", 0xffff_c900_0000_0000, 0xffff_e8ff_ffff_ffff),
    region("vmemmap", 0xffff_ea00_0000_0000, 0xffff_eaff_ffff_ffff),
    region("kasan", 0xffff_ec00_0000_0000, 0xffff_fbff_ffff_ffff),
    region("cpu_entry", 0xffff_fe00_0000_0000, 0xffff_fe7f_ffff_ffff),
    region("espfix", 0xffff_ff00_0000_0000, 0xffff_ff7f_ffff_ffff),
    region("efi", 0xffff_ffef_0000_0000, 0xffff_fffe_ffff_ffff),
    region("text", 0xffff_ffff_8000_0000, 0xffff_ffff_9fff_ffff),
    region("modules", 0xffff_ffff_a000_0000, 0xffff_ffff_feff_ffff),
    region("fixmap", 0xffff_ffff_ff00_0000, 0xffff_ffff_ff5f_ffff),
    region("vsyscall", 0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_0fff),
];

/// Linux's layout with four levels, as it is without KASLR.
pub const fn layout() -> Layout {
    Layout {
        regions: FOUR_LEVELS,
        user: VirtRange::new(VirtAddr::ZERO, VirtAddr::new(0x7fff_ffff_f000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_ascend_and_do_not_overlap() {
        for pair in layout().regions.windows(2) {
            assert!(
                pair[0].start <= pair[0].last && pair[0].last < pair[1].start,
                "{pair:?}"
            );
        }
    }

    #[test]
    fn addresses_are_named_by_region() {
        let name = |at| layout().region(VirtAddr::new(at)).map(|region| region.name);
        assert_eq!(name(0x40_0000), Some("user"));
        assert_eq!(name(0xffff_ffff_8100_0000), Some("text"));
        assert_eq!(name(0x8000_0000_0000), None);
    }
}
