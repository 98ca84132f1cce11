//! A part of the kernel's addresses in which pages of all sizes come and go.

use core::convert::Infallible;
use core::ops::ControlFlow;

use alloc::sync::Arc;

use foliant_arch::{Entry, ErrorCode, KernelFormat, KernelProt, Level, PageFault};
use foliant_paging::{GatherOf, Missing, PageTables, TopSync};
use foliant_phys::AllocError;
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::mapping;

/// One change at a time: see [`FollowingMap`](super::FollowingMap).
pub(super) struct Window<P: Mmu, F: KernelFormat> {
    pub(super) tables: Arc<PageTables<P, F>>,
    /// All of its addresses, which nobody else maps in. The leaf tables at the
    /// edges may have others' pages, too, if these make them when they miss them.
    pub(super) pages: VpnRange,
    largest: Level,
    /// Bytes by the level of their leaves.
    bytes: [AtomicU64; Level::COUNT],
    /// Leaves that were made smaller, by their level.
    splits: [AtomicU64; Level::COUNT],
}

impl<P: Mmu, F: KernelFormat> Window<P, F> {
    pub(super) fn new(tables: &Arc<PageTables<P, F>>, pages: VpnRange, largest: Level) -> Self {
        let window = Self {
            tables: tables.clone(),
            pages,
            largest,
            bytes: core::array::from_fn(|_| AtomicU64::new(0)),
            splits: core::array::from_fn(|_| AtomicU64::new(0)),
        };
        // What the boot mapped.
        window.count(pages, u64::wrapping_add);
        window
    }

    /// Bytes that leaves of `level` map.
    pub(super) fn mapped(&self, level: Level) -> u64 {
        self.bytes[level.index()].load(Ordering::Relaxed)
    }

    /// How many leaves of `level` were made smaller.
    pub(super) fn splits(&self, level: Level) -> u64 {
        self.splits[level.index()].load(Ordering::Relaxed)
    }

    /// Whether nothing is mapped in `pages`.
    pub(super) fn is_empty(&self, pages: VpnRange) -> bool {
        self.visit(pages, |_, _, _| ControlFlow::Break(())).is_continue()
    }

    /// Shows the frames from `frame` on in `pages`, which are empty.
    ///
    /// # Errors
    /// No memory for a table; nothing has changed.
    pub(super) fn map(&self, pages: VpnRange, frame: Pfn) -> Result<(), AllocError> {
        self.map_up_to(pages, frame, self.largest)
    }

    /// The same with pages of at most `largest`.
    pub(super) fn map_up_to(&self, pages: VpnRange, frame: Pfn, largest: Level) -> Result<(), AllocError> {
        let mapped = mapping::map_run(&*self.tables, pages, frame, KernelProt::DATA, largest);
        self.count(pages, u64::wrapping_add);
        if mapped.is_err() {
            self.unmap(pages);
        }
        mapped
    }

    /// Makes smaller every large page of which only a part lies in `pages`.
    ///
    /// # Errors
    /// No memory for a table; everything is mapped as it was.
    pub(super) fn cut_out(&self, pages: VpnRange) -> Result<(), AllocError> {
        self.cut_at(pages.start)?;
        self.cut_at(pages.end)
    }

    /// Makes smaller the pages that reach from before `at` beyond it.
    fn cut_at(&self, at: Vpn) -> Result<(), AllocError> {
        let mut gather = GatherOf::new(&*self.tables);
        loop {
            let (entry, level) = self.tables.look_up(at);
            let page = F::GEOMETRY.entry_range(level, at);
            let straddles = entry.is_present() && level != Level::PTE && page.start != at;
            if !straddles || !self.tables.split(at, level, &mut gather)? {
                return Ok(());
            }
            self.note_split(level);
        }
    }

    fn note_split(&self, level: Level) {
        let span = F::GEOMETRY.entry_span(level);
        self.splits[level.index()].fetch_add(1, Ordering::Relaxed);
        self.bytes[level.index()].fetch_sub(span, Ordering::Relaxed);
        if let Some(below) = F::GEOMETRY.below(level) {
            self.bytes[below.index()].fetch_add(span, Ordering::Relaxed);
        }
    }

    /// Makes all that top entries map themselves a matter of tables: other
    /// roots copy top entries, and would not learn that one is gone.
    ///
    /// # Errors
    /// No memory for a table; some are done.
    pub(super) fn lower_tops(&self) -> Result<(), AllocError> {
        let top = F::GEOMETRY.top();
        let mut gather = GatherOf::new(&*self.tables);
        for at in self.tops() {
            let (entry, level) = self.tables.look_up(at);
            let is_large = entry.is_present() && level == top;
            if is_large && self.tables.split(at, top, &mut gather)? {
                self.note_split(top);
            }
        }
        Ok(())
    }

    /// A page of each top entry.
    pub(super) fn tops(&self) -> impl Iterator<Item = Vpn> {
        let span = F::GEOMETRY.entry_pages(F::GEOMETRY.top());
        let first = self.pages.start.align_down(span);
        let count = (self.pages.end - first).div_ceil(span);
        let start = self.pages.start;
        (0..count).map(move |nth| (first + nth * span).max(start))
    }

    /// Takes everything out of `pages`, frees tables that are empty then, and
    /// makes CPUs forget what was there. What lies there of a larger page was
    /// not [cut out](Self::cut_out) and stays.
    ///
    /// # Linux source concept
    /// `remove_pagetable()`.
    pub(super) fn unmap(&self, pages: VpnRange) {
        self.count(pages, u64::wrapping_sub);
        let mut gather = GatherOf::new(&*self.tables);
        self.tables.edit_range(pages, &mut gather, |leaf, part, gather| {
            let whole = leaf.level() == Level::PTE || pages.covers(leaf.range());
            if whole {
                let step = F::GEOMETRY.entry_pages(leaf.level());
                let mut at = part.start;
                while at < part.end {
                    leaf.take(at);
                    at += step;
                }
                gather.removed(part);
            }
            part.end
        });
        // Tables that other memory needed, too, may be empty as well now.
        let top = F::GEOMETRY.entry_pages(F::GEOMETRY.top());
        let ours = outwards(self.pages, F::GEOMETRY.table_pages(Level::PTE));
        self.tables
            .free_range(outwards(pages, top).intersect(ours), &mut gather);
        gather.finish();
    }

    /// Repairs a fault at an address of the window whose top entry the tables
    /// `running` have not seen yet; whether it is worth another try.
    pub(super) fn repair(&self, fault: PageFault, running: &PageTables<P, F>) -> bool {
        self.pages.contains(fault.at.page()) && copy_top(&self.tables, fault, running)
    }

    /// Adds up what is mapped in `pages` whole, by the size of its pages.
    fn count(&self, pages: VpnRange, how: impl Fn(u64, u64) -> u64) {
        let done = self.visit(pages, |level, count, whole| {
            if whole {
                let bytes = &self.bytes[level.index()];
                let more = count * F::GEOMETRY.entry_span(level);
                bytes.store(how(bytes.load(Ordering::Relaxed), more), Ordering::Relaxed);
            }
            ControlFlow::<Infallible>::Continue(())
        });
        match done {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Shows, table by table, how many leaves of which level lie in `pages`, and
    /// whether as a whole.
    fn visit<B>(
        &self,
        pages: VpnRange,
        mut show: impl FnMut(Level, u64, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let visited = self.tables.for_each_leaf(pages, Missing::Skip, |leaf, part| {
            let whole = leaf.level() == Level::PTE || pages.covers(leaf.range());
            match leaf.entries(part).count() as u64 {
                0 => ControlFlow::Continue(()),
                count => show(leaf.level(), count, whole),
            }
        });
        // Without allocation nothing can fail.
        visited.unwrap_or(ControlFlow::Continue(()))
    }
}

/// `pages` and those around up to multiples of `count`.
fn outwards(pages: VpnRange, count: u64) -> VpnRange {
    VpnRange::new(pages.start.align_down(count), pages.end.align_up(count))
}

/// Copies the top entry of the address of a fault from the kernel's tables into
/// those that run, if it is one of the kernel's and is missing; whether the
/// access is to be tried again.
///
/// # Linux source concept
/// `vmalloc_fault()`.
pub(crate) fn copy_top<P: Mmu, F: KernelFormat>(
    kernel: &PageTables<P, F>,
    fault: PageFault,
    running: &PageTables<P, F>,
) -> bool {
    if fault.code.intersects(ErrorCode::PROTECTION | ErrorCode::USER) {
        return false;
    }
    let page = fault.at.page();
    match running.sync_top(kernel, page) {
        TopSync::Copied => true,
        // Somebody else copied it between the access and now.
        TopSync::Same => kernel.get(page).is_present(),
        TopSync::Missing => false,
    }
}
