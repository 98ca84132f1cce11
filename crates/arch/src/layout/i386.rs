//! i386: a layout that depends on how memory is split and how much there is.

use core::fmt;

use foliant_units::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};

use super::region::{Layout, Region, Source};
use super::x86_64::Version;

const PAGE: u64 = PAGE_SIZE as u64;
/// The end of the fixmap: one page below the end of addresses.
const FIXADDR_TOP: u64 = 0xffff_f000;
/// What vmalloc is left at least, if nothing else is asked for.
const VMALLOC_RESERVE: u64 = 128 << 20;
/// A hole between RAM and vmalloc, to catch those who run over.
const VMALLOC_OFFSET: u64 = 8 << 20;
/// Pages of one early mapping.
const BTMAP_PAGES: u64 = 64;
/// Pages of the fixmap that the kernel of the example machine had.
const FIXMAPS: u64 = 936;
/// Pages of one CPU's entry area.
const ENTRY_AREA_PAGES: u64 = 40;

/// Where user space ends (`CONFIG_VMSPLIT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VmSplit {
    /// 3 GiB for user space, 1 GiB for the kernel.
    #[default]
    ThreeOne,
    /// 2.75 GiB for user space, so that a whole GiB of RAM is low.
    ThreeOneOpt,
    /// 2 GiB each.
    TwoTwo,
    /// 1.875 GiB for user space, so that 2 GiB of RAM are low.
    TwoTwoOpt,
    /// 1 GiB for user space.
    OneThree,
}

impl VmSplit {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ThreeOne,
        Self::ThreeOneOpt,
        Self::TwoTwo,
        Self::TwoTwoOpt,
        Self::OneThree,
    ];

    /// The first address of the kernel (`PAGE_OFFSET`).
    pub const fn page_offset(self) -> VirtAddr {
        VirtAddr::new(match self {
            Self::ThreeOne => 0xc000_0000,
            Self::ThreeOneOpt => 0xb000_0000,
            Self::TwoTwo => 0x8000_0000,
            Self::TwoTwoOpt => 0x7800_0000,
            Self::OneThree => 0x4000_0000,
        })
    }
}

/// With PAE a split must lie at a multiple of 1 GiB, which a top-level entry covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSplit;

impl fmt::Display for BadSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("with PAE the split must be a multiple of 1 GiB")
    }
}

impl core::error::Error for BadSplit {}

/// How the kernel was built and what machine it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct I386Config {
    /// Whose layout: since Linux 4.14 the CPUs' entry areas lie under the fixmap.
    pub version: Version,
    /// Where user space ends.
    pub split: VmSplit,
    /// 8-byte entries.
    pub pae: bool,
    /// Whether RAM that is not low can be used.
    pub highmem: bool,
    /// Pages of the fixmap that stay after boot.
    pub fixmaps: u64,
    /// Early mappings at a time: 4 before Linux 4.1, 8 since.
    pub btmap_slots: u64,
    /// CPUs that the kernel was built for.
    pub cpus: u64,
    /// What vmalloc is left at least (`vmalloc=`).
    pub vmalloc: u64,
}

impl I386Config {
    /// A kernel of Linux 4.4 and before with high memory, split 3 to 1.
    pub const fn new(pae: bool) -> Self {
        Self {
            version: Version::Linux44,
            split: VmSplit::ThreeOne,
            pae,
            highmem: true,
            fixmaps: FIXMAPS,
            btmap_slots: 4,
            cpus: 8,
            vmalloc: VMALLOC_RESERVE,
        }
    }

    const fn entries(&self) -> u64 {
        if self.pae { 512 } else { 1024 }
    }

    /// Bytes of one middle entry, which the parts above vmalloc are aligned to.
    const fn pmd(&self) -> u64 {
        self.entries() * PAGE
    }

    const fn fixmap(&self) -> u64 {
        FIXADDR_TOP - self.fixmaps * PAGE
    }

    /// Early mappings lie in one leaf table, below the fixmap proper.
    const fn boot_fixmap(&self) -> u64 {
        let early = BTMAP_PAGES * self.btmap_slots;
        let crosses = (self.fixmaps ^ (self.fixmaps + early - 1)) & !(self.entries() - 1) != 0;
        let first = if crosses {
            self.fixmaps + early - (self.fixmaps & (early - 1))
        } else {
            self.fixmaps
        };
        FIXADDR_TOP - (first + early) * PAGE
    }
}

/// A part of the kernel's image, in its own addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageRange {
    /// Code: `_text` to `_etext`.
    pub text: VirtRange,
    /// Variables: `_etext` to `_edata`.
    pub data: VirtRange,
    /// What is given back after boot.
    pub init: VirtRange,
}

/// A layout of i386 for a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct I386 {
    config: I386Config,
    /// Constant addresses.
    pub fixmap: VirtRange,
    /// Entry areas of the CPUs, where the version has them.
    pub cpu_entry: Option<VirtRange>,
    /// The LDT's copy, where the version has it.
    pub ldt: Option<VirtRange>,
    /// Mappings of high memory that stay; only with high memory.
    pub pkmap: Option<VirtRange>,
    /// vmalloc, ioremap and modules.
    pub vmalloc: VirtRange,
    /// RAM that is mapped for good.
    pub lowmem: VirtRange,
}

impl I386 {
    /// The layout on a machine whose RAM ends before `max_pfn`.
    ///
    /// # Errors
    /// [`BadSplit`].
    pub fn new(config: I386Config, max_pfn: Pfn) -> Result<Self, BadSplit> {
        let page_offset = config.split.page_offset();
        if config.pae && !page_offset.is_aligned_to(1 << 30) {
            return Err(BadSplit);
        }
        let range = |start, end| VirtRange::new(VirtAddr::new(start), VirtAddr::new(end));
        let pmd = config.pmd();
        let mut top = config.boot_fixmap();
        let (mut cpu_entry, mut ldt) = (None, None);
        if config.version == Version::Linux618 {
            let pages = config.cpus * ENTRY_AREA_PAGES;
            let entry = (top - (pages + 1) * PAGE) & !(pmd - 1);
            cpu_entry = Some(range(entry, entry + pages * PAGE));
            let table = (entry - PAGE) & !(pmd - 1);
            ldt = Some(range(table, table + pmd));
            top = table;
        }
        let maps = config.entries();
        let (pkmap, vmalloc_end) = if config.highmem {
            let base = match config.version {
                Version::Linux44 => (top - (maps + 1) * PAGE) & !(pmd - 1),
                Version::Linux618 => (top - PAGE) & !(pmd - 1),
            };
            (Some(range(base, base + maps * PAGE)), base - 2 * PAGE)
        } else if config.version == Version::Linux618 {
            (None, top - 2 * PAGE)
        } else {
            (None, config.fixmap() - 2 * PAGE)
        };

        let most = (vmalloc_end - page_offset.raw()).saturating_sub(config.vmalloc);
        let low = max_pfn.base().raw().min(most & !(PAGE - 1));
        let high_memory = page_offset.raw() + low;
        Ok(Self {
            config,
            fixmap: range(config.fixmap(), FIXADDR_TOP),
            cpu_entry,
            ldt,
            pkmap,
            vmalloc: range((high_memory + VMALLOC_OFFSET).min(vmalloc_end), vmalloc_end),
            lowmem: range(page_offset.raw(), high_memory),
        })
    }

    /// The first frame that cannot be low memory, however much RAM there is.
    ///
    /// # Errors
    /// [`BadSplit`].
    pub fn lowmem_end(config: I386Config) -> Result<Pfn, BadSplit> {
        Ok(Self::new(config, Pfn::new(1 << 24))?.max_low_pfn())
    }

    /// The first frame that is not low memory.
    pub const fn max_low_pfn(&self) -> Pfn {
        Pfn::new(self.lowmem.len() >> PAGE_SHIFT)
    }

    /// Where the direct map shows a physical address of low memory.
    pub const fn virt(&self, at: PhysAddr) -> VirtAddr {
        VirtAddr::new(self.lowmem.start.raw() + at.raw())
    }

    /// The block that the kernel prints when memory is ready.
    ///
    /// # Linux source concept
    /// `mem_init()`, arch/x86/mm/init_32.c.
    pub fn log(&self, image: ImageRange) -> impl fmt::Display {
        let layout = *self;
        fmt::from_fn(move |f| {
            writeln!(f, "virtual kernel memory layout:")?;
            kib(f, "    fixmap ", layout.fixmap)?;
            if let Some(entry) = layout.cpu_entry {
                kib(f, "  cpu_entry", entry)?;
            }
            if let Some(pkmap) = layout.pkmap {
                kib(f, "    pkmap  ", pkmap)?;
            }
            mib(f, "    vmalloc", layout.vmalloc)?;
            mib(f, "    lowmem ", layout.lowmem)?;
            kib(f, "      .init", image.init)?;
            kib(f, "      .data", image.data)?;
            kib(f, "      .text", image.text)
        })
    }

    /// All regions.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::new(self.lowmem.start.raw(), 32);
        let part = |name, about, range: VirtRange, source| {
            Region::new(name, about, range.start.raw(), range.end.raw() - 1, source)
        };
        layout.push(part(
            "user",
            "user-space virtual memory",
            layout.user,
            Source::User,
        ));
        let about = "RAM that is mapped for good";
        layout.push(part("lowmem", about, self.lowmem, Source::Linear));
        if !self.vmalloc.is_empty() {
            let about = "vmalloc, ioremap and modules";
            layout.push(part("vmalloc", about, self.vmalloc, Source::Dynamic));
        }
        if let Some(pkmap) = self.pkmap {
            let about = "mappings of high memory that stay";
            layout.push(part("pkmap", about, pkmap, Source::Dynamic));
        }
        if let Some(ldt) = self.ldt {
            let about = "LDT remap for page table isolation";
            layout.push(part("ldt", about, ldt, Source::Dynamic));
        }
        if let Some(entry) = self.cpu_entry {
            let about = "entry code and stacks of each CPU";
            layout.push(part("cpu_entry", about, entry, Source::Dynamic));
        }
        // Without high memory vmalloc takes the place of the early mappings.
        let below = layout.regions().last().map_or(0, |region| region.last.raw() + 1);
        let start = VirtAddr::new(self.config.boot_fixmap().max(below));
        let early = VirtRange::new(start, self.fixmap.start);
        if self.config.boot_fixmap() >= below && !early.is_empty() {
            layout.push(part("early", "mappings of early boot", early, Source::Dynamic));
        }
        let about = "fixmap: addresses that are constants";
        layout.push(part("fixmap", about, self.fixmap, Source::Dynamic));
        layout.push(Region::new(
            "guard",
            "guard page",
            FIXADDR_TOP,
            0xffff_ffff,
            Source::Guard,
        ));
        layout
    }
}

fn kib(f: &mut fmt::Formatter<'_>, name: &str, range: VirtRange) -> fmt::Result {
    line(f, name, range, range.len() >> 10, "kB")
}

fn mib(f: &mut fmt::Formatter<'_>, name: &str, range: VirtRange) -> fmt::Result {
    line(f, name, range, range.len() >> 20, "MB")
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, range: VirtRange, amount: u64, unit: &str) -> fmt::Result {
    let (start, end) = (range.start, range.end);
    writeln!(f, "{name} : {start:#010x} - {end:#010x}   ({amount:>4} {unit})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn range(start: u64, end: u64) -> VirtRange {
        VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
    }

    #[test]
    fn the_example_machine_prints_the_kernels_block() {
        let layout = I386::new(I386Config::new(true), Pfn::new(0x80000)).unwrap();
        let image = ImageRange {
            text: range(0xc040_0000, 0xc071_ae6a),
            data: range(0xc071_ae6a, 0xc08f_eb78),
            init: range(0xc090_6000, 0xc097_3000),
        };
        assert_eq!(
            layout.log(image).to_string(),
            "virtual kernel memory layout:\n    \
                 fixmap  : 0xffc57000 - 0xfffff000   (3744 kB)\n    \
                 pkmap   : 0xff800000 - 0xffa00000   (2048 kB)\n    \
                 vmalloc : 0xf7ffe000 - 0xff7fe000   ( 120 MB)\n    \
                 lowmem  : 0xc0000000 - 0xf77fe000   ( 887 MB)\n      \
                   .init : 0xc0906000 - 0xc0973000   ( 436 kB)\n      \
                   .data : 0xc071ae6a - 0xc08feb78   (1935 kB)\n      \
                   .text : 0xc0400000 - 0xc071ae6a   (3179 kB)\n"
        );
    }

    #[test]
    fn every_split_has_a_sound_layout_or_is_refused() {
        for split in VmSplit::ALL {
            for pae in [false, true] {
                for version in [Version::Linux44, Version::Linux618] {
                    for (highmem, frames) in [(false, 0x1000), (true, 0x4000), (true, 0x10_0000)] {
                        let config = I386Config {
                            version,
                            split,
                            highmem,
                            ..I386Config::new(pae)
                        };
                        let odd = matches!(split, VmSplit::ThreeOneOpt | VmSplit::TwoTwoOpt);
                        match I386::new(config, Pfn::new(frames)) {
                            Ok(layout) => {
                                assert!(!(pae && odd));
                                assert!(layout.layout().is_sound(), "{layout:x?}");
                                assert!(layout.vmalloc.len() >= (128 << 20) - VMALLOC_OFFSET);
                            }
                            Err(BadSplit) => assert!(pae && odd),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn little_ram_leaves_vmalloc_the_rest() {
        let layout = I386::new(I386Config::new(false), Pfn::new(0x4000)).unwrap();
        assert_eq!(layout.max_low_pfn(), Pfn::new(0x4000));
        assert_eq!(layout.vmalloc.start.raw(), 0xc000_0000 + (64 << 20) + (8 << 20));
    }
}
