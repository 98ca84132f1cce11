//! The headings of Linux's page-table dumps: where parts of the address space
//! begin.

use foliant_arch::layout::I386;
use foliant_units::{VirtAddr, VirtRange};

/// One heading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heading {
    pub(super) start: u64,
    pub(super) name: &'static str,
    /// Lines that are written under it; further ones are counted.
    pub(super) most: Option<u64>,
}

/// Headings in the order of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headings(Vec<Heading>);

/// Lines of the ESPfix area that are written: it has thousands.
const ESPFIX_LINES: u64 = 16;
const TEXT_START: u64 = 0xffff_ffff_8000_0000;
const MIB: u64 = 1 << 20;

/// What a kernel of x86-64 was built with and where it put things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct X86_64Parts {
    /// Whether tables have five levels.
    pub five: bool,
    /// The direct map, vmalloc and the frame records.
    pub bases: [VirtAddr; 3],
    /// Bytes that the kernel's image may move in, after which modules follow.
    pub image: u64,
    /// The lowest fixed mapping, if it is known.
    pub fixmap: Option<VirtAddr>,
    /// With KASAN's shadow.
    pub kasan: bool,
    /// With a copy of LDTs for programs.
    pub ldt: bool,
    /// With small stacks for 16-bit programs.
    pub espfix: bool,
    /// With the firmware's services.
    pub efi: bool,
}

impl X86_64Parts {
    /// A kernel without KASLR, built as distributions do.
    pub fn usual(five: bool) -> Self {
        use foliant_arch::layout::{Paging, Version, X86_64Bases};
        let paging = if five { Paging::Five } else { Paging::Four };
        let bases = X86_64Bases::fixed(paging, Version::Linux618);
        Self {
            five,
            bases: [bases.direct.start, bases.vmalloc.start, bases.vmemmap.start],
            image: 1 << 30,
            fixmap: None,
            kasan: false,
            ldt: true,
            espfix: true,
            efi: true,
        }
    }
}

/// Addresses of an i386 kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct I386Parts {
    /// Where the kernel's addresses begin.
    pub direct: VirtAddr,
    /// vmalloc's area.
    pub vmalloc: VirtRange,
    /// Where mappings of high memory begin, in kernels that have them.
    pub pkmap: Option<VirtAddr>,
    /// Where the copy of LDTs begins, in kernels that have it.
    pub ldt: Option<VirtAddr>,
    /// Where the CPUs' entry areas begin.
    pub cpu_entry: Option<VirtAddr>,
    /// The lowest fixed mapping, if it is known.
    pub fixmap: Option<VirtAddr>,
}

impl From<&I386> for I386Parts {
    fn from(layout: &I386) -> Self {
        let start = |range: Option<VirtRange>| range.map(|range| range.start);
        Self {
            direct: layout.lowmem.start,
            vmalloc: layout.vmalloc,
            pkmap: start(layout.pkmap),
            ldt: start(layout.ldt),
            cpu_entry: start(layout.cpu_entry),
            fixmap: Some(layout.fixmap.start),
        }
    }
}

/// Addresses of an arm64 kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmParts {
    /// Bits of an address.
    pub bits: u32,
    /// Modules.
    pub modules: VirtRange,
    /// vmalloc's area.
    pub vmalloc: VirtRange,
    /// The frame records.
    pub records: VirtRange,
    /// Pages of fixed mappings, if that is known.
    pub fixmaps: Option<u64>,
    /// Bytes of a page.
    pub page: u64,
    /// Whether the frame records lie below the other small parts (since Linux 6.9).
    pub records_first: bool,
}

impl Headings {
    /// No headings.
    pub fn none() -> Self {
        Self::default()
    }

    pub(super) fn get(&self, nth: usize) -> Option<&Heading> {
        self.0.get(nth)
    }

    fn of(parts: &[(bool, u64, &'static str)]) -> Self {
        let heading = |&(_, start, name): &(bool, u64, &'static str)| Heading {
            start,
            name,
            most: (name == "ESPfix Area").then_some(ESPFIX_LINES),
        };
        Self(parts.iter().filter(|(is, ..)| *is).map(heading).collect())
    }

    /// Those of x86-64.
    pub fn x86_64(parts: &X86_64Parts) -> Self {
        let [direct, vmalloc, vmemmap] = parts.bases.map(VirtAddr::raw);
        let (ldt, shadow) = if parts.five {
            (0xff10_0000_0000_0000, 0xffdf_0000_0000_0000)
        } else {
            (0xffff_8800_0000_0000, 0xffff_ec00_0000_0000)
        };
        let fixmap = parts.fixmap.map_or(0, VirtAddr::raw);
        Self::of(&[
            (true, 0, "User Space"),
            (true, 1 << 63, "Kernel Space"),
            (parts.ldt, ldt, "LDT remap"),
            (true, direct, "Low Kernel Mapping"),
            (true, vmalloc, "vmalloc() Area"),
            (true, vmemmap, "Vmemmap"),
            (parts.kasan, shadow, "KASAN shadow"),
            (parts.kasan, 0xffff_fc00_0000_0000, "KASAN shadow end"),
            (true, 0xffff_fe00_0000_0000, "CPU entry Area"),
            (parts.espfix, 0xffff_ff00_0000_0000, "ESPfix Area"),
            (parts.efi, 0xffff_ffef_0000_0000, "EFI Runtime Services"),
            (true, TEXT_START, "High Kernel Mapping"),
            (true, TEXT_START.saturating_add(parts.image), "Modules"),
            (true, 0xffff_ffff_ff00_0000, "End Modules"),
            (parts.fixmap.is_some(), fixmap, "Fixmap Area"),
        ])
    }

    /// Those of i386.
    pub fn i386(parts: &I386Parts) -> Self {
        let known = |at: Option<VirtAddr>, name| (at.is_some(), at.map_or(0, VirtAddr::raw), name);
        Self::of(&[
            (true, 0, "User Space"),
            (true, parts.direct.raw(), "Kernel Mapping"),
            (true, parts.vmalloc.start.raw(), "vmalloc() Area"),
            (true, parts.vmalloc.end.raw(), "vmalloc() End"),
            known(parts.pkmap, "Persistent kmap() Area"),
            known(parts.ldt, "LDT remap"),
            known(parts.cpu_entry, "CPU entry area"),
            known(parts.fixmap, "Fixmap area"),
        ])
    }

    /// Those of arm64's kernel half.
    ///
    /// # Linux source concept
    /// The layout of arch/arm64/include/asm/memory.h, before and since 6.9.
    pub fn arm64(parts: &ArmParts) -> Self {
        // What a kernel says of itself may be anything.
        let from = |bits: u32| u64::MAX.checked_shl(bits).unwrap_or(0);
        let linear = from(parts.bits);
        let linear_end = from(parts.bits.min(48).saturating_sub(1));
        let (records, records_end) = (parts.records.start.raw(), parts.records.end.raw());
        let (io, top) = if parts.records_first {
            (records_end.wrapping_add(8 * MIB), 0u64.wrapping_sub(8 * MIB))
        } else {
            (records.wrapping_sub(24 * MIB), records.wrapping_sub(32 * MIB))
        };
        let fixmap = top.wrapping_sub(parts.fixmaps.unwrap_or(0).wrapping_mul(parts.page));
        let io = [
            (true, io, "PCI I/O start"),
            (true, io.wrapping_add(16 * MIB), "PCI I/O end"),
        ];
        let fixmap = [
            (parts.fixmaps.is_some(), fixmap, "Fixmap start"),
            (true, top, "Fixmap end"),
        ];
        let records = [
            (true, records, "vmemmap start"),
            (true, records_end, "vmemmap end"),
        ];
        let mut all = vec![
            (true, linear, "Linear Mapping start"),
            (true, linear_end, "Linear Mapping end"),
            (true, parts.modules.start.raw(), "Modules start"),
            (true, parts.modules.end.raw(), "Modules end"),
            (true, parts.vmalloc.start.raw(), "vmalloc() area"),
            (true, parts.vmalloc.end.raw(), "vmalloc() end"),
        ];
        let rest = if parts.records_first {
            [records, io, fixmap]
        } else {
            [fixmap, io, records]
        };
        all.extend(rest.into_iter().flatten());
        Self::of(&all)
    }
}
