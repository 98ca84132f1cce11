//! Where a kernel put the parts of its address space.

use std::ops::ControlFlow;

use foliant_arch::arm64::Half;
use foliant_units::{VirtAddr, VirtRange};

use super::btf::Btf;
use super::kallsyms::Symbols;
use super::kernel::Kernel;
use crate::listing::{ArmParts, Headings, I386Parts, Mapping, Tables, X86_64Parts};
use crate::root::TableFormat;

/// Where the highest fixed mapping of x86-64 ends.
const FIXED_END: u64 = 0xffff_ffff_ff7f_f000;
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Regions of x86-64 move by this.
const STEP: u64 = 1 << 30;

impl Kernel<'_> {
    /// The headings of Linux's page-table dumps, as far as the image tells
    /// where they are: with symbols of data and types everything, without them
    /// what can be seen in tables and memory.
    pub fn headings(&self) -> Headings {
        match self.root().format {
            TableFormat::X86_64 | TableFormat::X86_64La57 => Headings::x86_64(&self.x86_64_parts()),
            TableFormat::X86Legacy | TableFormat::X86Pae => self
                .i386_parts()
                .as_ref()
                .map_or_else(Headings::none, Headings::i386),
            _ => self
                .arm_parts()
                .as_ref()
                .map_or_else(Headings::none, Headings::arm64),
        }
    }

    /// Everything about an x86-64 kernel.
    pub fn x86_64_parts(&self) -> X86_64Parts {
        let five = self.root().format == TableFormat::X86_64La57;
        let mut parts = X86_64Parts::usual(five);
        let symbols = Symbols::read(self).ok();
        if let Some(symbols) = &symbols {
            let has = |name| symbols.get(name).is_some();
            parts.kasan = has("kasan_report");
            parts.ldt = has("__x64_sys_modify_ldt");
            parts.espfix = has("init_espfix_ap");
            parts.efi = has("efi_map_region") || has("efi_enter_virtual_mode");
        }
        let named = symbols.as_ref().and_then(|symbols| self.named_bases(symbols));
        if let Some(bases) = named.or_else(|| self.seen_bases(five)) {
            parts.bases = bases;
        }
        parts.image = self.info().number("KERNEL_IMAGE_SIZE").unwrap_or(parts.image);
        let types = symbols.and_then(|symbols| Btf::read(self, &symbols).ok());
        let fixed = types
            .or_else(|| Btf::search(self.image()))
            .and_then(|types| types.constant("__end_of_permanent_fixed_addresses"));
        parts.fixmap = fixed.map(|pages| VirtAddr::new(FIXED_END - u64::from(pages) * PAGE));
        parts
    }

    fn named_bases(&self, symbols: &Symbols) -> Option<[VirtAddr; 3]> {
        let value = |name| self.pointer(symbols.get(name)?).ok();
        Some([
            value("page_offset_base")?,
            value("vmalloc_base")?,
            value("vmemmap_base")?,
        ])
    }

    /// The lowest mapping of the kernel's half shows memory at the distance of
    /// the direct map; the variable that holds it stands between those of the
    /// other regions.
    fn seen_bases(&self, five: bool) -> Option<[VirtAddr; 3]> {
        let lowest = if five { 0xff11 << 48 } else { 0xffff_8880 << 32 };
        let direct = self.first_mapping(|mapping| mapping.start.raw() >= lowest)?;
        let direct = direct.start.raw().checked_sub(direct.memory.raw())?;
        if !direct.is_multiple_of(STEP) {
            return None;
        }
        let ascends = |words: [u64; 3]| {
            words[0] == direct
                && words.is_sorted()
                && words.iter().all(|word| word.is_multiple_of(STEP))
                && words[0] != words[1]
                && words[1] != words[2]
        };
        self.image().search(|_, memory| {
            let (words, _) = memory.as_chunks::<8>();
            let found = words.windows(3).find_map(|words| {
                let [a, b, c] = [words[0], words[1], words[2]].map(u64::from_le_bytes);
                let orders = [[a, b, c], [c, b, a]];
                orders.into_iter().find(|order| ascends(*order))
            });
            found.map(|bases| bases.map(VirtAddr::new))
        })
    }

    fn first_mapping(&self, wanted: impl Fn(&Mapping) -> bool) -> Option<Mapping> {
        let mut found = None;
        let tables = Tables::in_image(self.image(), self.root(), Half::High);
        let _ended = tables.list(|mapping| {
            if wanted(&mapping) {
                found = Some(mapping);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// The parts of an i386 kernel, as its tables show them; its constants for
    /// fixed mappings are nowhere to be seen.
    fn i386_parts(&self) -> Option<I386Parts> {
        let direct = 0xc000_0000u64;
        let pmd = if self.root().format == TableFormat::X86Pae {
            2 * MIB
        } else {
            4 * MIB
        };
        // The direct map ends where addresses and memory part.
        let (mut low_end, mut entry) = (direct, None);
        let tables = Tables::in_image(self.image(), self.root(), Half::High);
        let listed = tables.list(|mapping| {
            let (start, memory) = (mapping.start.raw(), mapping.memory.raw());
            if start.checked_sub(direct) == Some(memory) {
                low_end = start + mapping.len;
            } else if start.is_multiple_of(pmd) && start > low_end && !mapping.can.write {
                // The interrupt table lies read-only at the very beginning.
                entry = Some(start);
            }
            ControlFlow::Continue(())
        });
        listed.ok()?;
        let below = |at: u64| (at - PAGE) & !(pmd - 1);
        let (ldt, pkmap) = (entry.map(below), entry.map(below).map(below));
        let end = pkmap.or(entry).map_or(1 << 32, |top| top - 2 * PAGE);
        let at = |raw: Option<u64>| raw.map(VirtAddr::new);
        Some(I386Parts {
            direct: VirtAddr::new(direct),
            vmalloc: VirtRange::new(VirtAddr::new(low_end + 8 * MIB), VirtAddr::new(end)),
            pkmap: at(pkmap),
            ldt: at(ldt),
            cpu_entry: at(entry),
            fixmap: None,
        })
    }

    /// The parts of an arm64 kernel, which it tells all.
    fn arm_parts(&self) -> Option<ArmParts> {
        let number = |name| self.info().number(name).map(VirtAddr::new);
        let range = |start, end| Some(VirtRange::new(number(start)?, number(end)?));
        let records = range("VMEMMAP_START", "VMEMMAP_END")?;
        let page = self.info().get("PAGESIZE").and_then(|size| size.parse().ok());
        let types = Btf::search(self.image());
        let fixmaps = types.and_then(|types| types.constant("__end_of_fixed_addresses"));
        Some(ArmParts {
            bits: self.info().number("VA_BITS")? as u32,
            modules: range("MODULES_VADDR", "MODULES_END")?,
            vmalloc: range("VMALLOC_START", "VMALLOC_END")?,
            records,
            fixmaps: fixmaps.map(u64::from),
            page: page.unwrap_or(PAGE),
            // Then they end 1 GiB below the end of addresses.
            records_first: records.end.raw() == 0u64.wrapping_sub(1 << 30),
        })
    }
}
