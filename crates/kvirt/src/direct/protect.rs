//! Rights of the direct map, and the second mapping of the kernel's image:
//! what is executed is not written, and what is written is not executed.

use foliant_arch::{Entry, KernelFormat, KernelProt, Level};
use foliant_phys::boot::Memblock;
use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};

use super::map::DirectMap;
use crate::early::{EarlyError, EarlyTables};

/// Where a leaf is.
struct Leaf {
    table: PhysAddr,
    index: usize,
    level: Level,
}

impl DirectMap {
    /// Gives a part of memory rights of its own. It is rounded outwards to
    /// whole pages; large pages of which it is a part are split. What is not
    /// mapped stays so.
    ///
    /// # Errors
    /// [`EarlyError`].
    ///
    /// # Linux source concept
    /// `set_memory_ro()`, `set_memory_nx()` in `mark_rodata_ro()`.
    pub fn protect<F: KernelFormat, P: Platform>(
        &mut self,
        tables: &mut EarlyTables<P>,
        memblock: &mut Memblock<P>,
        range: PhysRange,
        prot: KernelProt,
    ) -> Result<(), EarlyError> {
        let range = whole_pages(range);
        let mut at = range.start;
        while at < range.end {
            let Some(virt) = self.virt(at) else { break };
            let Some(leaf) = find::<F, P>(tables, self.root, virt) else {
                at = at + PAGE_SIZE as u64;
                continue;
            };
            let span = F::GEOMETRY.entry_span(leaf.level);
            let page = PhysRange::new(at.align_down(span), at.align_down(span) + span);
            if range.intersect(page) == page {
                let entry = F::kernel_leaf(page.start.frame(), leaf.level, prot);
                tables.set_entry::<F>(leaf.table, leaf.index, entry);
                at = page.end;
            } else {
                let below = split::<F, P>(tables, memblock, &leaf)?;
                self.moved(leaf.level, below, span);
            }
        }
        Ok(())
    }

    /// Maps a part of the kernel's image once more, at `base` and its place in
    /// memory, with the largest pages that fit into it.
    ///
    /// # Errors
    /// [`EarlyError`].
    ///
    /// # Linux source concept
    /// The mapping at `__START_KERNEL_map`, after `cleanup_highmap()`.
    pub fn map_image<F: KernelFormat, P: Platform>(
        &self,
        tables: &mut EarlyTables<P>,
        memblock: &mut Memblock<P>,
        base: VirtAddr,
        range: PhysRange,
        prot: KernelProt,
    ) -> Result<(), EarlyError> {
        let range = whole_pages(range);
        let mut at = range.start;
        while at < range.end {
            let fits = |level: Level| {
                let span = F::GEOMETRY.entry_span(level);
                F::GEOMETRY.can_be_leaf(level) && at.is_aligned_to(span) && range.end - at >= span
            };
            let level = if fits(Level::PMD) { Level::PMD } else { Level::PTE };
            let (table, index) = reach::<F, P>(tables, memblock, self.root, base + at.raw(), level)?;
            tables.set_entry::<F>(table, index, F::kernel_leaf(at.frame(), level, prot));
            at = at + F::GEOMETRY.entry_span(level);
        }
        Ok(())
    }
}

fn whole_pages(range: PhysRange) -> PhysRange {
    let page = PAGE_SIZE as u64;
    PhysRange::new(
        range.start.align_down(page),
        (range.end + (page - 1)).align_down(page),
    )
}

/// The leaf that shows `at`.
fn find<F: KernelFormat, P: Platform>(tables: &EarlyTables<P>, root: PhysAddr, at: VirtAddr) -> Option<Leaf> {
    let (mut table, mut level) = (root, F::GEOMETRY.top());
    loop {
        let index = F::GEOMETRY.index(level, at.page());
        let entry = tables.entry::<F>(table, index);
        if entry.is_empty() {
            return None;
        }
        match F::GEOMETRY.below(level) {
            Some(below) if entry.is_table(level) => (table, level) = (entry.target(level), below),
            _ => return Some(Leaf { table, index, level }),
        }
    }
}

/// Makes a large leaf a table of smaller ones with the same rights; says of which level.
fn split<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    leaf: &Leaf,
) -> Result<Level, EarlyError> {
    let below = F::GEOMETRY.below(leaf.level).ok_or(EarlyError::Unaligned)?;
    let large = tables.entry::<F>(leaf.table, leaf.index);
    let table = tables.take_one(memblock)?.base();
    for index in 0..F::GEOMETRY.entries(below) {
        let part = large.part(below, index, F::GEOMETRY.entry_pages(below));
        tables.set_entry::<F>(table, index, part);
    }
    tables.set_entry::<F>(leaf.table, leaf.index, F::link(table, leaf.level));
    Ok(below)
}

/// The place of the entry of `level` for `at`, with tables down to it.
fn reach<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    root: PhysAddr,
    at: VirtAddr,
    level: Level,
) -> Result<(PhysAddr, usize), EarlyError> {
    let (mut table, mut here) = (root, F::GEOMETRY.top());
    loop {
        let index = F::GEOMETRY.index(here, at.page());
        if here == level {
            return Ok((table, index));
        }
        let entry = tables.entry::<F>(table, index);
        table = if entry.is_empty() {
            tables.link::<F>(memblock, table, index, here)?
        } else if entry.is_table(here) {
            entry.target(here)
        } else {
            return Err(EarlyError::Unaligned);
        };
        here = F::GEOMETRY.below(here).ok_or(EarlyError::Unaligned)?;
    }
}
