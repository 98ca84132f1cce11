//! Mapping RAM.

use core::fmt;

use foliant_arch::{Entry, KernelFormat, KernelProt, Level};
use foliant_phys::boot::{BIOS_HOLE, BootRequest, Log, Memblock};
use foliant_platform::Platform;
use foliant_units::{Pfn, PhysAddr, PhysRange, VirtAddr};

use super::split::{MapPiece, split_range};
use crate::early::{EarlyError, EarlyTables};

/// Large pages are looked for in steps that grow by this much.
const STEP_GROWTH: u32 = 8;

/// What the direct map is to be.
#[derive(Clone, Copy, Debug)]
pub struct DirectConfig {
    /// Where physical address zero is shown.
    pub base: VirtAddr,
    /// The end of what is mapped: all RAM, or low memory.
    pub end: Pfn,
    /// The largest pages that the processor knows.
    pub largest: Level,
    /// Whether the first large page is made of small ones (32-bit x86 does,
    /// because of the first megabyte).
    pub first_small: bool,
}

/// The direct map.
#[derive(Clone, Copy, Debug)]
pub struct DirectMap {
    /// The top table.
    pub root: PhysAddr,
    base: VirtAddr,
    /// Bytes by the level of their leaves.
    bytes: [u64; Level::COUNT],
    /// The end of what is mapped.
    end: PhysAddr,
}

impl DirectMap {
    /// Where a physical address is shown.
    pub fn virt(&self, at: PhysAddr) -> Option<VirtAddr> {
        (at < self.end).then(|| self.base + at.raw())
    }

    /// Notes that leaves of a level became smaller ones.
    pub(super) fn moved(&mut self, from: Level, to: Level, bytes: u64) {
        self.bytes[from.index()] -= bytes;
        self.bytes[to.index()] += bytes;
    }

    /// Bytes that leaves of `level` map, what is mapped beside RAM included.
    ///
    /// # Linux source concept
    /// `DirectMap4k` and its relatives in /proc/meminfo.
    pub fn mapped(&self, level: Level) -> u64 {
        self.bytes[level.index()]
    }
}

/// Maps all RAM below `config.end`, under a new root. The end of RAM is
/// mapped first, with tables from the buffer, and its memory then gives the
/// tables for the rest.
///
/// # Errors
/// [`EarlyError`].
///
/// # Linux source concept
/// `init_mem_mapping()`, arch/x86/mm/init.c.
pub fn init_mem_mapping<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    config: DirectConfig,
    log: &mut Log<'_>,
) -> Result<DirectMap, EarlyError> {
    let root = tables.take_one(memblock)?.base();
    let end = config.end.base();
    let map = DirectMap {
        root,
        base: config.base,
        bytes: [0; Level::COUNT],
        end,
    };
    let mut work = Work::<F, P> {
        tables,
        memblock,
        config,
        map,
        mapped: None,
        format: core::marker::PhantomData,
    };
    let first = BIOS_HOLE.end.min(end);
    work.one_range(PhysRange::new(PhysAddr::ZERO, first), log)?;
    work.top_down(PhysRange::new(first, end), log)?;
    let map = work.map;
    memblock.set_limit(map.end);
    Ok(map)
}

/// The state of one [`init_mem_mapping`].
struct Work<'a, F, P> {
    tables: &'a mut EarlyTables<P>,
    memblock: &'a mut Memblock<P>,
    config: DirectConfig,
    map: DirectMap,
    /// From the lowest to the highest address that is mapped, the first
    /// megabyte aside.
    mapped: Option<PhysRange>,
    format: core::marker::PhantomData<F>,
}

impl<F: KernelFormat, P: Platform> Work<'_, F, P> {
    fn top_down(&mut self, range: PhysRange, log: &mut Log<'_>) -> Result<(), EarlyError> {
        if range.is_empty() {
            return Ok(());
        }
        let first_large = Level::all().find(|&level| level != Level::PTE && !F::GEOMETRY.is_folded(level));
        let pmd = F::GEOMETRY.entry_span(first_large.unwrap_or(Level::PMD));
        let highest = self.memblock.find(BootRequest::new(pmd, pmd).inside(range));
        let real_end = match highest {
            Some(found) => found.end,
            None => range.end.align_down(pmd).max(range.start),
        };

        let (mut step, mut done) = (pmd, 0);
        let mut last = real_end;
        while last > range.start {
            let start = match last.raw() > step {
                true => (last - 1).align_down(step).max(range.start),
                false => range.start,
            };
            done += self.ram_in(PhysRange::new(start, last), log)?;
            last = start;
            if done >= step {
                step = step
                    .checked_shl(STEP_GROWTH)
                    .filter(|step| *step != 0)
                    .unwrap_or(step);
            }
        }
        self.ram_in(PhysRange::new(real_end, range.end), log)?;
        Ok(())
    }

    /// Maps the RAM inside `range`; says how many bytes that is.
    fn ram_in(&mut self, range: PhysRange, log: &mut Log<'_>) -> Result<u64, EarlyError> {
        let (mut at, mut done) = (range.start, 0);
        // The lists may change while tables are taken, so the next region is
        // looked up each time.
        while let Some(ram) = self.next_ram(at, range.end) {
            self.one_range(ram, log)?;
            done += ram.len();
            at = ram.end;
        }
        Ok(done)
    }

    fn next_ram(&self, at: PhysAddr, end: PhysAddr) -> Option<PhysRange> {
        let window = PhysRange::new(at, end);
        let ram = self.memblock.memory().iter();
        ram.map(|region| region.range.intersect(window))
            .find(|ram| !ram.is_empty())
    }

    /// # Linux source concept
    /// `init_memory_mapping()`.
    fn one_range(&mut self, range: PhysRange, log: &mut Log<'_>) -> Result<(), EarlyError> {
        let (geometry, config) = (&F::GEOMETRY, self.config);
        log.line(format_args!("init_memory_mapping: {}", Mem(range)));
        let pieces = split_range(geometry, self.memblock, range, config.largest, config.first_small);
        for &piece in pieces.as_slice() {
            let size = PageName(F::GEOMETRY.entry_span(piece.level));
            log.line(format_args!(" {} page {size}", Mem(piece.range)));
            self.one_piece(piece)?;
        }
        if range.start >= BIOS_HOLE.end {
            let mapped = self.mapped.unwrap_or(range);
            let (start, end) = (mapped.start.min(range.start), mapped.end.max(range.end));
            let mapped = self.mapped.insert(PhysRange::new(start, end));
            self.tables.set_window(*mapped);
        }
        Ok(())
    }

    fn one_piece(&mut self, piece: MapPiece) -> Result<(), EarlyError> {
        let span = F::GEOMETRY.entry_span(piece.level);
        let mut at = piece.range.start.align_down(span);
        while at < piece.range.end {
            self.one_page(at, piece.level)?;
            at = at.checked_add(span).ok_or(EarlyError::Unaligned)?;
        }
        Ok(())
    }

    /// Maps the page of `level` that shows `at`, unless a larger one does.
    fn one_page(&mut self, at: PhysAddr, level: Level) -> Result<(), EarlyError> {
        let page = (self.config.base + at.raw()).page();
        let (mut table, mut here) = (self.map.root, F::GEOMETRY.top());
        while here > level {
            let index = F::GEOMETRY.index(here, page);
            let entry = self.tables.entry::<F>(table, index);
            table = if entry.is_empty() {
                self.tables.link::<F>(self.memblock, table, index, here)?
            } else if entry.is_table(here) {
                entry.target(here)
            } else {
                return Ok(());
            };
            here = F::GEOMETRY.below(here).ok_or(EarlyError::Unaligned)?;
        }
        let index = F::GEOMETRY.index(here, page);
        if self.tables.entry::<F>(table, index).is_empty() {
            let leaf = F::kernel_leaf(at.frame(), here, KernelProt::DATA);
            self.tables.set_entry::<F>(table, index, leaf);
            self.map.bytes[here.index()] += F::GEOMETRY.entry_span(here);
        }
        Ok(())
    }
}

/// A range as the log prints it.
struct Mem(PhysRange);

impl fmt::Display for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[mem {:#010x}-{:#010x}]", self.0.start, self.0.end - 1)
    }
}

/// A page size as the log prints it: `4k`, `2M`, `1G`.
struct PageName(u64);

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size >> 30 > 0 => write!(f, "{}G", size >> 30),
            size if size >> 20 > 0 => write!(f, "{}M", size >> 20),
            size => write!(f, "{}k", size >> 10),
        }
    }
}
