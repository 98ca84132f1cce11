//! Addresses that are constants, from the first moment on.

use foliant_arch::{Entry, KernelFormat, KernelProt, Level};
use foliant_phys::boot::Memblock;
use foliant_platform::Platform;
use foliant_units::{Pfn, PhysAddr, VirtAddr, Vpn, VpnRange};

use super::error::EarlyError;
use super::tables::EarlyTables;

/// Pages at constant addresses, counted downwards from the top. Their leaf
/// tables are contiguous, so that entry arithmetic works across them.
///
/// # Linux source concept
/// `early_ioremap_init()`'s `bm_pte` and `page_table_range_init()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EarlyFixmap {
    pages: VpnRange,
    /// The page that the first leaf table begins with.
    first: Vpn,
    tables: PhysAddr,
}

impl EarlyFixmap {
    /// Makes and links the leaf tables of `pages` under `root`.
    ///
    /// # Errors
    /// [`EarlyError`]; [`EarlyError::Unaligned`] where something larger is mapped already.
    pub fn new<F: KernelFormat, P: Platform>(
        tables: &mut EarlyTables<P>,
        memblock: &mut Memblock<P>,
        root: PhysAddr,
        pages: VpnRange,
    ) -> Result<Self, EarlyError> {
        let span = F::GEOMETRY.table_pages(Level::PTE);
        let first = pages.start.align_down(span);
        let count = (pages.end - first).div_ceil(span);
        let leaves = tables.take(memblock, count)?;
        for (at, leaf) in leaves.iter().enumerate() {
            let page = first + at as u64 * span;
            hang::<F, P>(tables, memblock, root, page, leaf.base())?;
        }
        Ok(Self {
            pages,
            first,
            tables: leaves.start.base(),
        })
    }

    /// The pages.
    pub fn pages(&self) -> VpnRange {
        self.pages
    }

    /// Where fixed page `index`, counted from the top, is.
    pub fn address(&self, index: u64) -> Option<VirtAddr> {
        (index < self.pages.len()).then(|| (self.pages.end - (index + 1)).base())
    }

    /// Maps a page; whoever asks owns it.
    pub fn set<F: KernelFormat, P: Platform>(
        &self,
        tables: &EarlyTables<P>,
        page: Vpn,
        frame: Pfn,
        prot: KernelProt,
    ) {
        let (table, index) = self.slot::<F>(page);
        tables.set_entry::<F>(table, index, F::kernel_leaf(frame, Level::PTE, prot));
    }

    /// Takes a mapping out; its translation may still be in a TLB.
    pub fn clear<F: KernelFormat, P: Platform>(&self, tables: &EarlyTables<P>, page: Vpn) {
        let (table, index) = self.slot::<F>(page);
        tables.set_entry::<F>(table, index, F::Entry::EMPTY);
    }

    /// The table and index of a page, by arithmetic alone.
    fn slot<F: KernelFormat>(&self, page: Vpn) -> (PhysAddr, usize) {
        assert!(self.pages.contains(page), "{page:?} is not fixed");
        let span = F::GEOMETRY.table_pages(Level::PTE);
        let at = page - self.first;
        let bytes = span * F::GEOMETRY.entry_bytes;
        (self.tables + at / span * bytes, (at % span) as usize)
    }
}

/// Links the leaf table at `leaf` for `page`.
fn hang<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    root: PhysAddr,
    page: Vpn,
    leaf: PhysAddr,
) -> Result<(), EarlyError> {
    let (mut table, mut level) = (root, F::GEOMETRY.top());
    loop {
        let index = F::GEOMETRY.index(level, page);
        let entry = tables.entry::<F>(table, index);
        let below = F::GEOMETRY.below(level).ok_or(EarlyError::Unaligned)?;
        if below == Level::PTE {
            if !entry.is_empty() {
                return Err(EarlyError::Unaligned);
            }
            tables.set_entry::<F>(table, index, F::link(leaf, level));
            return Ok(());
        }
        table = if entry.is_empty() {
            tables.link::<F>(memblock, table, index, level)?
        } else if entry.is_table(level) {
            entry.target(level)
        } else {
            return Err(EarlyError::Unaligned);
        };
        level = below;
    }
}
