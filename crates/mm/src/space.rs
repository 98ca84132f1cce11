//! An address space.

use alloc::sync::{Arc, Weak};
use core::fmt;

use foliant_arch::Level;
use foliant_paging::{Gather, PageTables};
use foliant_platform::sync::Mutex;
use foliant_platform::sync::atomic::{AtomicU8, Ordering};
use foliant_platform::{Levels, Mmu};
use foliant_units::{Errno, PAGE_SIZE, Vpn, VpnRange};

use crate::anon::AnonFamily;
use crate::book::{Limits, Usage};
use crate::counters::{CounterSnapshot, Counters, Resident};
use crate::env::Env;
use crate::fault::{Fault, FaultError, Resolved, Wait, resolve_blocking};
use crate::flags::VmFlags;
use crate::history::History;
use crate::layout::Layout;
use crate::map::AddressMap;
use crate::object::{Object, Pages};
use crate::pages::{self, Removal, Residency, Work};
use crate::rmap::Kin;
use crate::thp::{Advice, Orders, ThpMode};
use crate::vma::{Backing, Vma};

impl<P: Mmu> Backing for P {
    type Object = Object<P>;
    type Family = AnonFamily;
}

/// What one program, and every thread of it, sees of memory.
///
/// # Locking
/// `docs/locks.md` has the order. A space has one sleeping writer lock, the
/// book of its [`AddressMap`]; faults hold one VMA for reading; entries change
/// under the lock of their leaf table.
///
/// # Linux source concept
/// `struct mm_struct`.
pub struct Space<P: Mmu> {
    me: Weak<Self>,
    env: Arc<Env<P>>,
    tables: PageTables<P>,
    map: AddressMap<P>,
    counters: Counters,
    history: Mutex<History>,
    kin: Arc<Kin<P>>,
    thp_mode: AtomicU8,
}

impl<P: Mmu> Space<P> {
    /// An empty space.
    ///
    /// # Errors
    /// `NOMEM` without a frame for the top table; what the machine says.
    pub fn new(env: &Arc<Env<P>>, layout: Layout, limits: Limits) -> Result<Arc<Self>, Errno> {
        let kin = Kin::found(env.registry());
        let layout = match P::Levels::FIVE {
            true => layout.with_five_levels(),
            false => layout,
        };
        Self::with_map(env, &kin, AddressMap::new(layout, limits))
    }

    /// A space without pages that has these VMAs, one more of `kin`.
    pub(crate) fn with_map(
        env: &Arc<Env<P>>,
        kin: &Arc<Kin<P>>,
        map: AddressMap<P>,
    ) -> Result<Arc<Self>, Errno> {
        let tables = PageTables::new(env.phys())?;
        let space = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            env: env.clone(),
            tables,
            map,
            counters: Counters::default(),
            history: Mutex::new(History::default()),
            kin: kin.clone(),
            thp_mode: AtomicU8::new(ThpMode::default() as u8),
        });
        kin.join(&space);
        Ok(space)
    }

    /// The spaces that may share private frames with this one.
    pub(crate) fn kin(&self) -> &Arc<Kin<P>> {
        &self.kin
    }

    /// The machine's memory manager.
    pub fn env(&self) -> &Arc<Env<P>> {
        &self.env
    }

    /// The page tables.
    pub fn tables(&self) -> &PageTables<P> {
        &self.tables
    }

    /// The VMAs, the layout and the limits.
    pub fn map(&self) -> &AddressMap<P> {
        &self.map
    }

    /// What the machine knows of the space.
    pub fn context(&self) -> &P::Context {
        self.tables.context()
    }

    /// The live counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All counters, now.
    pub fn count(&self) -> CounterSnapshot {
        let at = |level| self.tables.tables(level) as u64;
        self.note_tables();
        self.counters
            .snapshot([at(Level::PTE), at(Level::PMD), at(Level::PUD), at(Level::P4D)])
    }

    /// Notes how many page tables there are, before some are freed.
    pub(crate) fn note_tables(&self) {
        self.counters.note_tables(self.table_bytes() / PAGE_SIZE as u64);
    }

    /// Bytes of page tables, the top one left out (`VmPTE`).
    pub fn table_bytes(&self) -> u64 {
        self.tables.table_bytes()
    }

    /// Makes the tables allow an access, or says why they must not.
    ///
    /// # Errors
    /// The signal that the program gets, or `OutOfMemory`.
    ///
    /// # Linux source concept
    /// `do_user_addr_fault()`.
    pub fn fault(&self, fault: Fault) -> Result<Resolved, FaultError> {
        resolve_blocking(self, fault)
    }

    /// What the process says of large folios.
    pub fn thp_mode(&self) -> ThpMode {
        ThpMode::from_raw(self.thp_mode.load(Ordering::Relaxed))
    }

    /// Changes what the process says of large folios; pages that are there stay.
    /// Forks inherit it; whoever replaces a space by a new one carries it over.
    pub fn set_thp_mode(&self, mode: ThpMode) {
        self.thp_mode.store(mode as u8, Ordering::Relaxed);
    }

    /// The sizes of folios that a fault on `vma` may use and has room for
    /// (`THPeligible` of `smaps` asks whether there is one).
    pub fn thp_orders(&self, vma: &Vma<P>) -> Orders {
        if !vma.is_anonymous() {
            return Orders::NONE;
        }
        let allowed = self.env.thp().allowed(self.thp_mode(), Advice::of(vma.flags));
        allowed.with_room(vma.range)
    }

    /// Waits for what stopped a fault.
    pub(crate) fn wait(&self, wait: Wait) {
        match wait {
            // Who moves a frame holds the writer locks of those who map it.
            Wait::Writer | Wait::Migration => drop(self.map.book()),
        }
    }

    /// A strong reference to this space. A space that is being dropped has none.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Grows the stack above `page` down to it.
    ///
    /// # Errors
    /// Those of [`Change::grow_stack`](crate::Change::grow_stack).
    pub(crate) fn grow_stack(&self, page: Vpn) -> Result<Arc<Vma<P>>, Errno> {
        let mut work = Work::new(self);
        self.map.change(&mut work).grow_stack(page)
    }

    /// What `vma` has resident (`/proc/PID/smaps`).
    pub fn residency(&self, vma: &Vma<P>) -> Residency {
        pages::residency(self, vma)
    }

    /// Shows each page of `range`, a part of `vma`, in order (`mincore`,
    /// `/proc/PID/pagemap`).
    pub fn view(&self, vma: &Vma<P>, range: VpnRange, see: impl FnMut(pages::PageView)) {
        pages::view(self, vma, range, see);
    }

    /// The faults of mappings that are gone, by what they mapped.
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }

    /// Remembers the faults of a mapping that goes. Parts that were split off
    /// it count together, and the first one to go tells for all so far.
    pub(crate) fn remember(&self, vma: &Vma<P>) {
        if vma.faults.tally().total() > 0 {
            self.history.lock().add(&vma.source, &vma.faults.drain());
        }
    }

    /// Shows the sizes outside.
    pub(crate) fn settle(&self, usage: &Usage) {
        use foliant_platform::sync::atomic::Ordering::Relaxed;
        let counters = &self.counters;
        counters.total_vm.store(usage.total, Relaxed);
        counters.peak_vm.fetch_max(usage.total, Relaxed);
        counters.data_vm.store(usage.data, Relaxed);
        counters.exec_vm.store(usage.exec, Relaxed);
        counters.stack_vm.store(usage.stack, Relaxed);
        counters.locked_vm.store(usage.locked, Relaxed);
    }

    /// The parts of VMAs that show `pages` of `object`, to `visit`, under the
    /// writer lock, so that none moves meanwhile.
    fn each_showing(&self, object: &Object<P>, pages: &Pages, mut visit: impl FnMut(&Vma<P>, VpnRange)) {
        let _writer = self.map.book();
        for vma in &self.map.snapshot() {
            let shows = vma.object().is_some_and(|shown| core::ptr::eq(&**shown, object));
            if !shows {
                continue;
            }
            let end = vma.pgoff.saturating_add(vma.range.len());
            let (first, last) = (pages.start.max(vma.pgoff), pages.end.min(end));
            if first < last {
                let start = vma.range.start + (first - vma.pgoff);
                visit(vma, VpnRange::new(start, start + (last - first)));
            }
        }
    }

    /// Takes `pages` of `object` out of the mappings of this space.
    pub(crate) fn unmap_object(&self, object: &Object<P>, pages: &Pages, how: Removal) {
        let mut gather = Gather::new(&self.tables);
        self.each_showing(object, pages, |vma, range| {
            pages::zap(self, vma, range, how, &mut gather)
        });
        gather.finish();
    }

    /// Makes `pages` of `object` clean and read-only in the shared mappings of
    /// this space.
    pub(crate) fn clean_object(&self, object: &Object<P>, pages: &Pages) {
        let mut gather = Gather::new(&self.tables);
        self.each_showing(object, pages, |vma, range| {
            if vma.is_shared() {
                pages::clean(self, range, &mut gather);
            }
        });
        gather.finish();
    }

    /// Whether a shared mapping of `object` is or can become writable.
    pub(crate) fn maps_writable(&self, object: &Object<P>) -> bool {
        let mut found = false;
        self.each_showing(object, &(0..u64::MAX), |vma, _| {
            found |= vma.flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE);
        });
        found
    }

    /// Whether the machine lets a space commit to `pages` more.
    ///
    /// # Linux source concept
    /// `__vm_enough_memory()` with `OVERCOMMIT_GUESS`: refused is only what
    /// could not fit if the machine were empty.
    pub fn may_commit(&self, pages: u64) -> bool {
        pages <= self.env.frames()
    }

    /// Checks the counters against the tables. Meaningful while nobody changes
    /// the space or an object that it maps.
    pub fn audit(&self, report: &mut dyn FnMut(SpaceViolation)) {
        let mut found = [0_i64; 3];
        for vma in &self.map.snapshot() {
            self.view(vma, vma.range, |page| {
                if let Some(sort) = page.sort {
                    found[sort as usize] += 1;
                }
                if let Some(frame) = page.frame
                    && page.sort.is_some()
                    && self.env.phys().record(frame).maps.get() == 0
                {
                    report(SpaceViolation::Unmapped(page.page));
                }
            });
        }
        let rss = self.counters.rss();
        for (sort, counted) in [
            (Resident::Anon, rss.anon),
            (Resident::File, rss.file),
            (Resident::Shmem, rss.shmem),
        ] {
            let found = found[sort as usize] as u64;
            if counted != found {
                report(SpaceViolation::Rss { sort, counted, found });
            }
        }
    }
}

/// A broken rule of a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceViolation {
    /// A resident counter is wrong.
    Rss {
        /// Which.
        sort: Resident,
        /// What it says.
        counted: u64,
        /// What the tables hold.
        found: u64,
    },
    /// A page is mapped to a frame whose record says that nobody maps it.
    Unmapped(Vpn),
}

impl<P: Mmu> Drop for Space<P> {
    fn drop(&mut self) {
        let mut gather = Gather::new(&self.tables);
        for vma in &self.map.snapshot() {
            pages::zap(self, vma, vma.range, Removal::Unmap, &mut gather);
        }
        gather.finish();
        for object in self.map.snapshot().iter().filter_map(|vma| vma.object()) {
            object.detach(self);
        }
        self.kin.leave(self);
    }
}

impl<P: Mmu> fmt::Debug for Space<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rss = self.counters.rss().total() * PAGE_SIZE as u64;
        write!(
            f,
            "space of {} VMAs, {rss} bytes resident",
            self.map.snapshot().len()
        )
    }
}
