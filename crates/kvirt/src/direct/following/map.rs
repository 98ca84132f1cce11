//! The direct map in the kernel's own tables.

use core::fmt;

use alloc::sync::Arc;

use foliant_arch::x86_64::LongMode;
use foliant_arch::{Entry, KernelFormat, Level, PageFault};
use foliant_paging::PageTables;
use foliant_phys::{FrameRecord, Phys};
use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{
    Errno, PAGE_SIZE, Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr, VirtRange, Vpn, VpnRange,
};

use super::config::{Above, FollowingConfig};
use super::follow::Follower;
use super::window::Window;

const RECORD: u64 = size_of::<FrameRecord>() as u64;

/// The direct map of a running kernel: all RAM at a constant distance, and, if
/// that was asked for, the records of all frames as one array. It follows
/// memory that is added and removed, as long as it lives; whoever drops it
/// leaves what is mapped as it is.
///
/// Memory is mapped with the largest pages that its alignment and length allow,
/// but never with top entries, which other roots copy. What is removed is cut
/// out of larger pages, whose parts stay; tables that become empty are freed,
/// but for those right below the root.
///
/// # Locking
/// Changes come one at a time, under a sleeping lock that only locks of tables
/// are taken under, and frames for these asked for. Looking takes no lock.
///
/// # Linux source concept
/// `init_memory_mapping()`, `kernel_physical_mapping_remove()`,
/// `vmemmap_populate()`, `vmemmap_free()`. Differs: large pages are split where
/// a part of one goes (Linux leaves it mapped), and a range that is mapped
/// already is refused.
pub struct FollowingMap<P: Mmu, F: KernelFormat = LongMode<<P as Mmu>::Levels>> {
    config: FollowingConfig,
    direct: Window<P, F>,
    /// Where records are shown, and the address of the first.
    records: Option<(Window<P, F>, VirtAddr)>,
    turn: Mutex<()>,
    /// The end of what was ever mapped.
    max_pfn: AtomicU64,
}

impl<P: Mmu, F: KernelFormat> FollowingMap<P, F> {
    /// Maps all RAM that there is into the kernel's tables, and from now on all
    /// that comes.
    ///
    /// # Errors
    /// `NOMEM` without a frame for a table, `RANGE` for RAM above the end of the
    /// map, `EXIST` where something is mapped in its room. Nothing of it stays mapped.
    ///
    /// # Locking
    /// No memory comes or goes meanwhile.
    ///
    /// # Linux source concept
    /// `init_mem_mapping()`, `sparse_init()`.
    pub fn of_ram(tables: &Arc<PageTables<P, F>>, config: FollowingConfig) -> Result<Arc<Self>, Errno> {
        let map = Self::unfollowed(tables, config);
        if !map.windows().all(|window| window.is_empty(window.pages)) {
            return Err(Errno::EXIST);
        }
        let phys = tables.phys();
        let mapped = phys
            .ram_ranges()
            .try_for_each(|ram| map.map_from(ram))
            .and_then(|()| map.show_all_records(phys));
        match mapped {
            Ok(()) => Ok(map.follow()),
            Err(errno) => {
                map.forget_all(phys);
                Err(errno)
            }
        }
    }

    /// The same where the boot has mapped RAM in these tables already
    /// ([`kernel_tables`](crate::early::EarlyTables::kernel_tables)).
    ///
    /// # Errors
    /// `NOMEM` without a frame for a table; what the boot mapped stays.
    pub fn of_boot(tables: &Arc<PageTables<P, F>>, config: FollowingConfig) -> Result<Arc<Self>, Errno> {
        let map = Self::unfollowed(tables, config);
        let phys = tables.phys();
        map.direct.lower_tops().map_err(|error| error.errno())?;
        phys.ram_ranges().for_each(|ram| map.reach(ram));
        if let Err(errno) = map.show_all_records(phys) {
            phys.record_homes()
                .for_each(|(frames, _)| map.hide_records(frames));
            return Err(errno);
        }
        Ok(map.follow())
    }

    fn unfollowed(tables: &Arc<PageTables<P, F>>, config: FollowingConfig) -> Self {
        let first = config.base.page();
        let pages = VpnRange::new(first, first + config.end.raw());
        let records = config.records.map(|base| {
            let bytes = (config.end.raw() * RECORD).next_multiple_of(PAGE_SIZE as u64);
            let pages = VpnRange::new(base.page(), base.page() + bytes / PAGE_SIZE as u64);
            (Window::new(tables, pages, Level::PMD), base)
        });
        Self {
            config,
            direct: Window::new(tables, pages, config.largest),
            records,
            turn: Mutex::new(()),
            max_pfn: AtomicU64::new(0),
        }
    }

    fn follow(self) -> Arc<Self> {
        let map = Arc::new(self);
        let follower = Follower(Arc::downgrade(&map));
        map.direct
            .tables
            .phys()
            .set_memory_mapper(Some(Arc::new(follower)));
        map
    }

    fn windows(&self) -> impl Iterator<Item = &Window<P, F>> {
        let records = self.records.as_ref().map(|(window, _)| window);
        [Some(&self.direct), records].into_iter().flatten()
    }

    /// The part of `range` that the map shows.
    ///
    /// # Errors
    /// `RANGE`: there is no room for all of it.
    fn shown_part(&self, range: PfnRange) -> Result<PfnRange, Errno> {
        match self.config.above {
            Above::Refused if range.end > self.config.end => Err(Errno::RANGE),
            _ => {
                let end = range.end.min(self.config.end);
                Ok(PfnRange::new(range.start.min(end), end))
            }
        }
    }

    pub(super) fn largest(&self) -> Level {
        self.config.largest
    }

    fn pages_of(&self, frames: PfnRange) -> VpnRange {
        let first = self.direct.pages.start;
        VpnRange::new(first + frames.start.raw(), first + frames.end.raw())
    }

    /// RAM of boot: its first large page has memory of many kinds.
    fn map_from(&self, ram: PfnRange) -> Result<(), Errno> {
        let large = Pfn::new(F::GEOMETRY.table_pages(Level::PTE));
        let small = PfnRange::new(ram.start, ram.end.min(large));
        if !small.is_empty() {
            self.map_frames(small, Level::PTE)?;
        }
        let rest = PfnRange::new(ram.start.max(large), ram.end);
        match rest.start < rest.end {
            true => self.map_frames(rest, self.config.largest),
            false => Ok(()),
        }
    }

    pub(super) fn map_frames(&self, frames: PfnRange, largest: Level) -> Result<(), Errno> {
        let _turn = self.turn.lock();
        let shown = self.shown_part(frames)?;
        let pages = self.pages_of(shown);
        if !self.direct.is_empty(pages) {
            return Err(Errno::EXIST);
        }
        self.direct
            .map_up_to(pages, shown.start, largest)
            .map_err(|error| error.errno())?;
        self.reach(frames);
        Ok(())
    }

    /// # Linux source concept
    /// `update_end_of_memory_vars()`.
    fn reach(&self, frames: PfnRange) {
        self.max_pfn.fetch_max(frames.end.raw(), Ordering::Relaxed);
    }

    pub(super) fn cut_out(&self, frames: PfnRange) -> Result<(), Errno> {
        let _turn = self.turn.lock();
        // What there is no room for is not mapped.
        let shown = PfnRange::new(frames.start, frames.end.min(self.config.end));
        if shown.start >= shown.end {
            return Ok(());
        }
        let cut = self.direct.cut_out(self.pages_of(shown));
        cut.map_err(|error| error.errno())
    }

    pub(super) fn unmap_frames(&self, frames: PfnRange) {
        let _turn = self.turn.lock();
        let shown = PfnRange::new(frames.start, frames.end.min(self.config.end));
        if shown.start < shown.end {
            self.direct.unmap(self.pages_of(shown));
        }
    }

    pub(super) fn show_records(&self, frames: PfnRange, home: PfnRange) -> Result<(), Errno> {
        let _turn = self.turn.lock();
        let Some((window, _)) = &self.records else {
            return Ok(());
        };
        let first = self.record_page(window, frames.start);
        let pages = VpnRange::new(first, first + home.len());
        if frames.end > self.config.end && self.config.above == Above::Refused {
            return Err(Errno::RANGE);
        }
        if !window.pages.covers(pages) {
            return Ok(());
        }
        match window.is_empty(pages) {
            true => window.map(pages, home.start).map_err(|error| error.errno()),
            false => Err(Errno::EXIST),
        }
    }

    pub(super) fn hide_records(&self, frames: PfnRange) {
        let _turn = self.turn.lock();
        if let Some((window, _)) = &self.records {
            let first = self.record_page(window, frames.start);
            let last = self.record_page(window, frames.end);
            window.unmap(VpnRange::new(first, last).intersect(window.pages));
        }
    }

    fn record_page(&self, window: &Window<P, F>, frame: Pfn) -> Vpn {
        window.pages.start + frame.raw() * RECORD / PAGE_SIZE as u64
    }

    fn show_all_records(&self, phys: &Phys<P>) -> Result<(), Errno> {
        phys.record_homes()
            .try_for_each(|(frames, home)| self.show_records(frames, home))
    }

    fn forget_all(&self, phys: &Phys<P>) {
        phys.ram_ranges().for_each(|ram| self.unmap_frames(ram));
        phys.record_homes()
            .for_each(|(frames, _)| self.hide_records(frames));
    }

    /// Where a physical address is shown; `None` where nothing is.
    ///
    /// # Linux source concept
    /// `phys_to_virt()`, with the check of `virt_addr_valid()`.
    pub fn virt(&self, at: PhysAddr) -> Option<VirtAddr> {
        if at.frame() >= self.config.end {
            return None;
        }
        let virt = self.config.base + at.raw();
        self.is_mapped(virt).then_some(virt)
    }

    /// What an address of the map shows; `None` where nothing is mapped, and
    /// outside of the map.
    ///
    /// # Linux source concept
    /// `virt_to_phys()`, with `virt_addr_valid()`.
    pub fn phys(&self, at: VirtAddr) -> Option<PhysAddr> {
        let inside = self.direct.pages.contains(at.page()) && self.is_mapped(at);
        inside.then(|| PhysAddr::new(at.raw() - self.config.base.raw()))
    }

    /// Where the record of a frame is shown; `None` where none is.
    ///
    /// # Linux source concept
    /// `pfn_to_page()` with `SPARSEMEM_VMEMMAP`.
    pub fn record(&self, frame: Pfn) -> Option<VirtAddr> {
        let (_, base) = self.records.as_ref().filter(|_| frame < self.config.end)?;
        let at = *base + frame.raw() * RECORD;
        self.is_mapped(at).then_some(at)
    }

    fn is_mapped(&self, at: VirtAddr) -> bool {
        self.direct.tables.get(at.page()).is_present()
    }

    /// All addresses that the map has room in.
    pub fn range(&self) -> VirtRange {
        self.direct.pages.bytes()
    }

    /// The end of all memory that was ever there; it does not sink.
    ///
    /// # Linux source concept
    /// `max_pfn`.
    pub fn max_pfn(&self) -> Pfn {
        Pfn::new(self.max_pfn.load(Ordering::Relaxed))
    }

    /// The end of the memory that is shown, as an address.
    ///
    /// # Linux source concept
    /// `high_memory`.
    pub fn high_memory(&self) -> VirtAddr {
        self.config.base + self.max_pfn().min(self.config.end).base().raw()
    }

    /// Bytes of memory that leaves of `level` show.
    ///
    /// # Linux source concept
    /// `DirectMap4k` and its relatives in /proc/meminfo.
    pub fn mapped(&self, level: Level) -> u64 {
        self.direct.mapped(level)
    }

    /// How many leaves of `level` were made smaller, because a part of their
    /// memory went.
    ///
    /// # Linux source concept
    /// `direct_map_level2_splits` and its relative in /proc/vmstat.
    pub fn splits(&self, level: Level) -> u64 {
        self.direct.splits(level)
    }

    /// Bytes of records that leaves of `level` show.
    pub fn records_mapped(&self, level: Level) -> u64 {
        self.records
            .as_ref()
            .map_or(0, |(window, _)| window.mapped(level))
    }

    /// The kernel's tables.
    pub fn tables(&self) -> &Arc<PageTables<P, F>> {
        &self.direct.tables
    }

    /// Repairs a fault of the kernel at an address of the map, or of the
    /// records, taken in the space that `running` are the tables of: if that
    /// space has not seen the top entry yet, it gets it. Whether the access is
    /// to be tried again.
    ///
    /// # Linux source concept
    /// `vmalloc_fault()`; Linux spares the direct map faults by `sync_global_pgds()`,
    /// here [`sync`](Self::sync).
    pub fn fault(&self, fault: PageFault, running: &PageTables<P, F>) -> bool {
        self.windows().any(|window| window.repair(fault, running))
    }

    /// Gives another space all top entries of the map that are there, so that
    /// only those that come later have to be repaired.
    ///
    /// # Linux source concept
    /// `sync_global_pgds()`.
    pub fn sync(&self, other: &PageTables<P, F>) {
        for window in self.windows() {
            for at in window.tops() {
                let _found = other.sync_top(&window.tables, at);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
impl<P: Mmu, F: KernelFormat> FollowingMap<P, F> {
    /// What is mapped, counted anew.
    pub(super) fn recount(&self) -> [u64; Level::COUNT] {
        let window = &self.direct;
        let again = Window::new(&window.tables, window.pages, self.config.largest);
        core::array::from_fn(|at| Level::all().nth(at).map_or(0, |level| again.mapped(level)))
    }

    pub(super) fn direct_window(&self) -> &Window<P, F> {
        &self.direct
    }
}

/// Whole frames around a range of bytes.
pub(super) fn frames_of(range: PhysRange) -> PfnRange {
    let end = (range.end + (PAGE_SIZE as u64 - 1)).frame();
    PfnRange::new(range.start.frame(), end)
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for FollowingMap<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "direct map at {:?} up to {:?}", self.range(), self.max_pfn())
    }
}
