//! Setting and clearing slots.

use core::fmt;

use alloc::sync::Arc;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{CacheMode, KernelFormat, KernelProt, Level};
use foliant_paging::{Missing, PageTables, Store};
use foliant_phys::AllocError;
use foliant_platform::{Flush, FlushKind, Mmu};
use foliant_units::{PAGE_SIZE, Pfn, VirtAddr, VpnRange};

use super::layout::{FixLayout, FixSlot};

/// Why a slot was not set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FixError {
    /// The slot is not one of this fixmap.
    NoSlot,
}

impl fmt::Display for FixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such slot in the fixmap")
    }
}

impl core::error::Error for FixError {}

/// The fixed slots of a kernel's tables. All of their tables are made at once,
/// so that a slot can be set whenever, without memory.
///
/// # Locking
/// The lock of the slot's table, for a moment. Whoever uses a slot sees to it
/// that nobody else sets it meanwhile, as in Linux.
pub struct Fixmap<P: Mmu, F: KernelFormat = X86_64> {
    tables: Arc<PageTables<P, F>>,
    layout: FixLayout,
}

impl<P: Mmu, F: KernelFormat> Fixmap<P, F> {
    /// The slots of `layout` in the kernel's tables, all clear.
    ///
    /// # Errors
    /// No memory for the tables. Some may have been made, and stay.
    pub fn new(tables: &Arc<PageTables<P, F>>, layout: FixLayout) -> Result<Self, AllocError> {
        let range = layout.range();
        let step = F::GEOMETRY.table_pages(Level::PTE);
        let mut at = range.start.page();
        while at < range.end.page() {
            drop(tables.lock_leaf(at, Missing::Allocate)?);
            at = (at + 1).align_up(step);
        }
        Ok(Self {
            tables: tables.clone(),
            layout,
        })
    }

    /// The slots that there are.
    pub fn layout(&self) -> &FixLayout {
        &self.layout
    }

    /// Maps `frame`, RAM or not, at `slot`, whatever was there before.
    ///
    /// # Errors
    /// The slot is another fixmap's.
    ///
    /// # Linux source concept
    /// `__set_fixmap()`.
    pub fn set(&self, slot: FixSlot, frame: Pfn, prot: KernelProt) -> Result<VirtAddr, FixError> {
        self.write(slot, F::kernel_leaf(frame, Level::PTE, prot))?;
        Ok(slot.address())
    }

    /// The same for device memory (`set_fixmap_nocache()`, `set_fixmap_io()`).
    ///
    /// # Errors
    /// The slot is another fixmap's.
    pub fn set_io(&self, slot: FixSlot, frame: Pfn, cache: CacheMode) -> Result<VirtAddr, FixError> {
        self.set(slot, frame, KernelProt::io(cache))
    }

    /// Unmaps what is at `slot`, on all CPUs.
    ///
    /// # Errors
    /// The slot is another fixmap's.
    ///
    /// # Linux source concept
    /// `clear_fixmap()`.
    pub fn clear(&self, slot: FixSlot) -> Result<(), FixError> {
        self.write(slot, F::Entry::default())
    }

    fn write(&self, slot: FixSlot, entry: F::Entry) -> Result<(), FixError> {
        let page = slot.page();
        let ours = slot.address().raw() + slot.index() as u64 * PAGE_SIZE as u64 == self.layout.top.raw();
        if !ours || slot.index() >= self.layout.slots() {
            return Err(FixError::NoSlot);
        }
        // The table was made with the fixmap.
        let Ok(Some(mut leaf)) = self.tables.lock_leaf(page, Missing::Skip) else {
            return Err(FixError::NoSlot);
        };
        let old = leaf.replace(page, entry);
        drop(leaf);
        if old != F::Entry::default() && old != entry {
            self.tables.store().flush(Flush {
                ranges: &[VpnRange::new(page, page + 1)],
                kind: FlushKind::Removed,
                tables_freed: false,
            });
        }
        Ok(())
    }
}

impl<P: Mmu, F: KernelFormat> Drop for Fixmap<P, F> {
    fn drop(&mut self) {
        let range = self.layout.range();
        let pages = VpnRange::new(range.start.page(), range.end.page());
        crate::mapping::unmap(&*self.tables, pages);
        self.tables.store().flush(Flush {
            ranges: &[pages],
            kind: FlushKind::Removed,
            tables_freed: false,
        });
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for Fixmap<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fixmap {:?}", self.layout.range())
    }
}
