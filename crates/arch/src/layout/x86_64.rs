//! x86-64: as in Linux 4.x and as it is today, with four and five levels.

use foliant_units::{VirtAddr, VirtRange};

use super::region::{Layout, Region, Source};

/// How many levels of tables there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Paging {
    /// 48-bit addresses.
    #[default]
    Four,
    /// 57-bit addresses.
    Five,
}

/// Whose layout it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// Linux 4.4: the direct map directly behind the hypervisor's part.
    Linux44,
    /// Linux 6.18: the LDT's copy lies there, because user tables need it in a
    /// top-level entry of its own.
    #[default]
    Linux618,
}

/// Where the regions begin that move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct X86_64Bases {
    /// The direct map of all RAM (`page_offset_base`).
    pub direct: VirtRange,
    /// vmalloc and ioremap (`vmalloc_base`).
    pub vmalloc: VirtRange,
    /// The frame records (`vmemmap_base`).
    pub vmemmap: VirtRange,
    /// The first byte of the kernel's image.
    pub text: VirtAddr,
}

/// Where the mapping of the kernel's image begins, which shows physical zero.
pub const TEXT_START: VirtAddr = VirtAddr::new(0xffff_ffff_8000_0000);

/// 64 GiB for the firmware's run-time services: mapped in the tables of a
/// space of its own, and so present only while that is loaded.
pub const EFI_WINDOW: VirtRange = VirtRange::new(
    VirtAddr::new(0xffff_ffef_0000_0000),
    VirtAddr::new(0xffff_ffff_0000_0000),
);

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn range(start: u64, bytes: u64) -> VirtRange {
    VirtRange::new(VirtAddr::new(start), VirtAddr::new(start + bytes))
}

impl X86_64Bases {
    /// Where they are without KASLR.
    pub const fn fixed(paging: Paging, version: Version) -> Self {
        let (direct, vmalloc, vmemmap) = match (paging, version) {
            (Paging::Four, Version::Linux44) => (
                range(0xffff_8800_0000_0000, 64 * TIB),
                range(0xffff_c900_0000_0000, 32 * TIB),
                range(0xffff_ea00_0000_0000, TIB),
            ),
            (Paging::Four, Version::Linux618) => (
                range(0xffff_8880_0000_0000, 64 * TIB),
                range(0xffff_c900_0000_0000, 32 * TIB),
                range(0xffff_ea00_0000_0000, TIB),
            ),
            // Linux 4.4 knew no five levels.
            (Paging::Five, _) => (
                range(0xff11_0000_0000_0000, 32 << 50),
                range(0xffa0_0000_0000_0000, 12_800 * TIB),
                range(0xffd4_0000_0000_0000, 512 * TIB),
            ),
        };
        Self {
            direct,
            vmalloc,
            vmemmap,
            text: TEXT_START,
        }
    }
}

/// Linux's layout without KASLR.
pub fn x86_64(paging: Paging, version: Version) -> Layout {
    x86_64_with(paging, version, &X86_64Bases::fixed(paging, version), false)
}

/// Linux's layout with the regions that move at `bases`. With KASLR the image
/// has 1 GiB to move in, and modules what is left.
pub fn x86_64_with(paging: Paging, version: Version, bases: &X86_64Bases, kaslr: bool) -> Layout {
    let mut layout = match paging {
        Paging::Four => lower(0x0000_7fff_ffff_f000, 48),
        Paging::Five => lower(0x00ff_ffff_ffff_f000, 57),
    };
    upper_start(&mut layout, paging, version);
    let part = |name, about, range: VirtRange, source| {
        Region::new(name, about, range.start.raw(), range.end.raw() - 1, source)
    };
    let map = "direct mapping of all physical memory";
    layout.push(part("direct", map, bases.direct, Source::Linear));
    layout.push(part(
        "vmalloc",
        "vmalloc/ioremap space",
        bases.vmalloc,
        Source::Dynamic,
    ));
    let records = "virtual memory map: one record for each frame";
    layout.push(part("vmemmap", records, bases.vmemmap, Source::Dynamic));
    let kasan = shadow(paging);
    // Regions that moved may have taken its place; a kernel has one or the other.
    if bases.vmemmap.end <= kasan.start {
        layout.push(part("kasan", "KASAN shadow memory", kasan, Source::Dynamic));
    }
    upper_end(&mut layout, version, kaslr);
    layout
}

const fn shadow(paging: Paging) -> VirtRange {
    let start = match paging {
        Paging::Four => 0xffff_ec00_0000_0000,
        Paging::Five => 0xffdf_0000_0000_0000,
    };
    VirtRange::new(VirtAddr::new(start), VirtAddr::new(0xffff_fc00_0000_0000))
}

/// One page less than half for user space, because an instruction at the very
/// end would return to a non-canonical address.
fn lower(user_end: u64, bits: u32) -> Layout {
    let mut layout = Layout::new(user_end, bits);
    let half = 1u64 << (bits - 1);
    let upper = half.wrapping_neg();
    layout.push(Region::new(
        "user",
        "user-space virtual memory",
        0,
        user_end - 1,
        Source::User,
    ));
    layout.push(Region::new(
        "guard",
        "guard page",
        user_end,
        half - 1,
        Source::Guard,
    ));
    let never = "not canonical: no instruction reaches it";
    layout.push(Region::new("noncanonical", never, half, upper - 1, Source::Hole));
    layout
}

fn upper_start(layout: &mut Layout, paging: Paging, version: Version) {
    let hypervisor = "guard hole, reserved for hypervisors";
    let ldt = "LDT remap for page table isolation";
    match (paging, version) {
        (Paging::Four, Version::Linux44) => layout.push(Region::new(
            "hypervisor",
            hypervisor,
            0xffff_8000_0000_0000,
            0xffff_87ff_ffff_ffff,
            Source::Guard,
        )),
        (Paging::Four, Version::Linux618) => {
            let (start, last) = (0xffff_8000_0000_0000, 0xffff_87ff_ffff_ffff);
            layout.push(Region::new("hypervisor", hypervisor, start, last, Source::Guard));
            let (start, last) = (0xffff_8800_0000_0000, 0xffff_887f_ffff_ffff);
            layout.push(Region::new("ldt", ldt, start, last, Source::Dynamic));
        }
        (Paging::Five, _) => {
            let (start, last) = (0xff00_0000_0000_0000, 0xff0f_ffff_ffff_ffff);
            layout.push(Region::new("hypervisor", hypervisor, start, last, Source::Guard));
            let (start, last) = (0xff10_0000_0000_0000, 0xff10_ffff_ffff_ffff);
            layout.push(Region::new("ldt", ldt, start, last, Source::Dynamic));
        }
    }
}

/// Where the CPUs' entry areas lie; regions that move end below.
pub fn cpu_entry_area() -> VirtAddr {
    VirtAddr::new(0xffff_fe00_0000_0000)
}

/// The last 2 TiB, the same with four and five levels.
fn upper_end(layout: &mut Layout, version: Version, kaslr: bool) {
    if version == Version::Linux618 {
        let (start, last) = (cpu_entry_area().raw(), 0xffff_fe7f_ffff_ffff);
        let about = "entry code and stacks of each CPU";
        layout.push(Region::new("cpu_entry", about, start, last, Source::Dynamic));
    }
    let (start, last) = (0xffff_ff00_0000_0000, 0xffff_ff7f_ffff_ffff);
    layout.push(Region::new(
        "espfix",
        "%esp fixup stacks",
        start,
        last,
        Source::Dynamic,
    ));
    let (start, last) = (EFI_WINDOW.start.raw(), EFI_WINDOW.end.raw() - 1);
    layout.push(Region::new(
        "efi",
        "EFI region mapping space",
        start,
        last,
        Source::Switched,
    ));

    let image = if kaslr { GIB } else { GIB / 2 };
    let modules = TEXT_START.raw() + image;
    let about = "kernel text mapping, from physical address 0";
    layout.push(Region::new(
        "text",
        about,
        TEXT_START.raw(),
        modules - 1,
        Source::Linear,
    ));
    let about = "module mapping space";
    layout.push(Region::new(
        "modules",
        about,
        modules,
        0xffff_ffff_feff_ffff,
        Source::Dynamic,
    ));
    let (start, last) = (0xffff_ffff_ff00_0000, 0xffff_ffff_ff5f_ffff);
    let about = "fixmap: addresses that are constants";
    layout.push(Region::new("fixmap", about, start, last, Source::Dynamic));
    let (last, about) = match version {
        Version::Linux44 => (0xffff_ffff_ffdf_ffff, "vsyscalls"),
        Version::Linux618 => (0xffff_ffff_ff60_0fff, "legacy vsyscall ABI"),
    };
    layout.push(Region::new(
        "vsyscall",
        about,
        0xffff_ffff_ff60_0000,
        last,
        Source::User,
    ));
    layout.push(Region::new(
        "hole",
        "unused hole",
        last + 1,
        u64::MAX,
        Source::Hole,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(layout: &Layout, name: &str) -> u64 {
        layout.named(name).unwrap().start.raw()
    }

    #[test]
    fn every_layout_covers_all_addresses_once() {
        for paging in [Paging::Four, Paging::Five] {
            for version in [Version::Linux44, Version::Linux618] {
                let layout = x86_64(paging, version);
                assert!(layout.is_sound(), "{layout:#x?}");
                assert_eq!(layout.regions().last().unwrap().last.raw(), u64::MAX);
            }
        }
    }

    #[test]
    fn the_direct_map_is_where_each_version_has_it() {
        let four = |version| x86_64(Paging::Four, version);
        assert_eq!(start(&four(Version::Linux44), "direct"), 0xffff_8800_0000_0000);
        assert_eq!(start(&four(Version::Linux618), "direct"), 0xffff_8880_0000_0000);
        let five = x86_64(Paging::Five, Version::Linux618);
        assert_eq!(start(&five, "direct"), 0xff11_0000_0000_0000);
        assert_eq!(five.named("direct").unwrap().last.raw(), 0xff90_ffff_ffff_ffff);
        assert_eq!(five.named("vmalloc").unwrap().last.raw(), 0xffd1_ffff_ffff_ffff);
        assert_eq!(five.named("vmemmap").unwrap().last.raw(), 0xffd5_ffff_ffff_ffff);
        assert_eq!(start(&five, "kasan"), 0xffdf_0000_0000_0000);
        assert_eq!(start(&five, "espfix"), 0xffff_ff00_0000_0000);
    }

    #[test]
    fn addresses_are_named_by_region() {
        let layout = x86_64(Paging::Four, Version::Linux618);
        let name = |at| layout.region(VirtAddr::new(at)).map(|region| region.name);
        for (at, expected) in [
            (0x40_0000, "user"),
            (0x7fff_ffff_f000, "guard"),
            (0x8000_0000_0000, "noncanonical"),
            (0xffff_8000_0000_0000, "hypervisor"),
            (0xffff_8840_0000_0000, "ldt"),
            (0xffff_c87f_ffff_ffff, "direct"),
            (0xffff_c880_0000_0000, "hole"),
            (0xffff_c900_0000_0000, "vmalloc"),
            (0xffff_ea00_0000_1000, "vmemmap"),
            (0xffff_fbff_ffff_ffff, "kasan"),
            (0xffff_fe00_0000_0000, "cpu_entry"),
            (0xffff_ff10_0000_0000, "espfix"),
            (0xffff_ffef_0000_0000, "efi"),
            (0xffff_ffff_8100_0000, "text"),
            (0xffff_ffff_a000_0000, "modules"),
            (0xffff_ffff_ff5f_f000, "fixmap"),
            (0xffff_ffff_ff60_0000, "vsyscall"),
            (u64::MAX, "hole"),
        ] {
            assert_eq!(name(at), Some(expected), "{at:#x}");
        }
    }
}
