//! arm64 with 48-bit addresses.

use super::region::{Layout, Region, Source};

/// Linux 6.18's layout with pages of 4 KiB and 48-bit addresses.
pub fn arm64() -> Layout {
    const TABLE: [(&str, &str, u64, u64, Source); 11] = [
        (
            "user",
            "user-space virtual memory",
            0,
            0x0000_ffff_ffff_ffff,
            Source::User,
        ),
        (
            "noncanonical",
            "translated by neither root",
            0x0001_0000_0000_0000,
            0xfffe_ffff_ffff_ffff,
            Source::Hole,
        ),
        (
            "direct",
            "kernel logical memory map",
            0xffff_0000_0000_0000,
            0xffff_7fff_ffff_ffff,
            Source::Linear,
        ),
        (
            "modules",
            "modules",
            0xffff_8000_0000_0000,
            0xffff_8000_7fff_ffff,
            Source::Dynamic,
        ),
        (
            "vmalloc",
            "vmalloc",
            0xffff_8000_8000_0000,
            0xffff_fbff_efff_ffff,
            Source::Dynamic,
        ),
        (
            "fixmap",
            "fixed mappings",
            0xffff_fbff_f000_0000,
            0xffff_fbff_fdff_ffff,
            Source::Dynamic,
        ),
        (
            "guard",
            "guard region",
            0xffff_fbff_fe00_0000,
            0xffff_fbff_fe7f_ffff,
            Source::Guard,
        ),
        (
            "pci_io",
            "PCI I/O space",
            0xffff_fbff_fe80_0000,
            0xffff_fbff_ff7f_ffff,
            Source::Dynamic,
        ),
        (
            "guard",
            "guard region",
            0xffff_fbff_ff80_0000,
            0xffff_fbff_ffff_ffff,
            Source::Guard,
        ),
        (
            "vmemmap",
            "vmemmap",
            0xffff_fc00_0000_0000,
            0xffff_fdff_ffff_ffff,
            Source::Dynamic,
        ),
        (
            "guard",
            "guard region",
            0xffff_fe00_0000_0000,
            u64::MAX,
            Source::Guard,
        ),
    ];
    let mut layout = Layout::new(1 << 48, 48);
    for (name, about, start, last, source) in TABLE {
        layout.push(Region::new(name, about, start, last, source));
    }
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_covers_all_addresses() {
        assert!(arm64().is_sound());
        assert_eq!(arm64().regions().len(), 11);
    }
}
