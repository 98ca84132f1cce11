//! The tables of one space.

use core::fmt;

use foliant_arch::{Entry, Format, Level};
use foliant_platform::sync::atomic::{AtomicUsize, Ordering};
use foliant_platform::sync::{SpinLock, relax};
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr, Vpn};

use crate::epoch::{Epoch, Pin};
use crate::limbo::Limbo;
use crate::mutant::{Mutant, seeded};
use crate::share::Tops;
use crate::store::{Store, Words};
use crate::unrolled::for_each_linking_level;

/// How often a failing allocation looks whether descents have ended.
const DRAIN_SPINS: u32 = 1000;

/// The tables of one space, in format `F`, in memory of `S`.
///
/// Dropping it frees the tables; what their entries map must have been taken
/// out before.
///
/// # Locking
/// See the [crate's documentation](crate). All methods may be called by any
/// number of threads at once.
pub struct Tree<S: Store, F: Format> {
    pub(crate) store: S,
    pub(crate) epoch: Epoch,
    pub(crate) limbo: SpinLock<Limbo>,
    /// Linked tables by level.
    pub(crate) counts: [AtomicUsize; Level::COUNT],
    pub(crate) tops: Tops,
    format: core::marker::PhantomData<F>,
}

impl<S: Store, F: Format> Tree<S, F> {
    /// Tables in `store`, whose root is empty.
    pub fn in_store(store: S) -> Self {
        let epoch = Epoch::new(store.cpus());
        let counts: [AtomicUsize; Level::COUNT] = core::array::from_fn(|_| AtomicUsize::new(0));
        counts[F::GEOMETRY.top().index()].store(1, Ordering::Relaxed);
        Self {
            store,
            epoch,
            limbo: SpinLock::new(Limbo::new()),
            counts,
            tops: Tops::Own,
            format: core::marker::PhantomData,
        }
    }

    /// Where the top table lies: what goes into CR3.
    pub fn root(&self) -> PhysAddr {
        self.store.root().base()
    }

    /// The memory that the tables are in.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// How many tables of `level` are linked, the root included.
    pub fn tables(&self, level: Level) -> usize {
        self.counts[level.index()].load(Ordering::Relaxed)
    }

    /// Bytes of all linked tables but the root: what Linux calls VmPTE.
    ///
    /// # Linux source concept
    /// `mm_pgtables_bytes()`.
    pub fn table_bytes(&self) -> u64 {
        let below = Level::all().filter(|&level| level != F::GEOMETRY.top());
        below.map(|level| self.tables(level) as u64).sum::<u64>() * PAGE_SIZE as u64
    }

    /// Unlinked tables that are not freed yet.
    pub fn waiting(&self) -> usize {
        self.limbo.lock().waiting()
    }

    pub(crate) fn count(&self, level: Level, linked: bool) {
        let count = &self.counts[level.index()];
        if linked {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one more table of `level`, where nobody else counts.
    pub(crate) fn count_alone(&self, level: Level) {
        let count = &self.counts[level.index()];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn pin(&self) -> Pin<'_> {
        self.epoch.pin(self.store.cpu())
    }

    /// Frees the unlinked tables that no descent can see any more.
    pub fn collect(&self) {
        self.collect_some();
    }

    /// Frees unlinked tables, and waits for descents as long as more of them
    /// are left than the store bears: who unlinks tables faster than others
    /// leave them must not fill memory with them. A descent waits for nobody
    /// but the holders of table locks, and those for nobody.
    ///
    /// # Locking
    /// The caller holds no table lock and no pin.
    pub(crate) fn hold_back(&self) {
        let mut spins = 0;
        while self.collect_some() > self.store.waiting_max() && !seeded(Mutant::NeverHoldBack) {
            relax(&mut spins);
        }
    }

    /// Frees unlinked tables. Returns how many are left.
    fn collect_some(&self) -> usize {
        self.store.enter();
        let mut limbo = self.limbo.lock();
        if limbo.waiting() != 0 {
            // Two steps at once where nobody is descending.
            self.epoch.advance();
            let now = self.epoch.advance();
            limbo.collect(&self.store, now);
        }
        let left = limbo.waiting();
        drop(limbo);
        self.store.leave();
        left
    }

    /// Waits a while for descents to end, so that unlinked tables are freed.
    pub(crate) fn drain(&self) {
        let mut spins = 0;
        while self.waiting() != 0 && spins < DRAIN_SPINS {
            self.collect();
            relax(&mut spins);
        }
    }

    /// The right to read many entries without a lock: one pin for all. Its
    /// holder unmaps nothing, because that may wait for pins.
    pub fn reader(&self) -> Reader<'_, S, F> {
        Reader {
            tree: self,
            _pin: self.pin(),
        }
    }

    /// The entry that decides about `page` and its level, without a lock: it
    /// may have changed when the caller looks at it. An empty entry's level is
    /// that of the missing table's link.
    pub fn look_up(&self, page: Vpn) -> (F::Entry, Level) {
        self.reader().look_up(page)
    }

    /// The entry of `page`, without a lock. Of a large mapping, the part that
    /// `page` is.
    pub fn get(&self, page: Vpn) -> F::Entry {
        self.reader().get(page)
    }
}

/// Lock-free reading. While it lives no table is freed, so it should not live long.
pub struct Reader<'t, S: Store, F: Format> {
    tree: &'t Tree<S, F>,
    _pin: Pin<'t>,
}

impl<S: Store, F: Format> Reader<'_, S, F> {
    /// As [`Tree::look_up`].
    #[inline]
    pub fn look_up(&self, page: Vpn) -> (F::Entry, Level) {
        let store = &self.tree.store;
        let mut table = store.root();
        for_each_linking_level!(F, level => {
            let entry = store.words(table).load::<F>(F::GEOMETRY.index(level, page));
            if !entry.is_table(level) {
                return (entry, level);
            }
            table = frame_of(entry, level);
        });
        let entry = store.words(table).load::<F>(F::GEOMETRY.index(Level::PTE, page));
        (entry, Level::PTE)
    }

    /// As [`Tree::get`].
    #[inline]
    pub fn get(&self, page: Vpn) -> F::Entry {
        let (entry, level) = self.look_up(page);
        if level == Level::PTE || !entry.is_present() {
            return entry;
        }
        part_of::<F>(entry, level, page)
    }
}

/// The part that `page` is of a present large leaf of `level`.
#[inline(never)]
fn part_of<F: Format>(mut entry: F::Entry, mut level: Level, page: Vpn) -> F::Entry {
    while let Some(below) = F::GEOMETRY.below(level) {
        let index = F::GEOMETRY.index(below, page);
        entry = entry.part(below, index, F::GEOMETRY.entry_pages(below));
        level = below;
    }
    entry
}

/// The table that a link of `level` points to.
pub(crate) fn frame_of<E: Entry>(link: E, level: Level) -> Pfn {
    link.target(level).frame()
}

impl<S: Store, F: Format> Drop for Tree<S, F> {
    fn drop(&mut self) {
        self.limbo.get_mut().collect_all(&self.store);
        self.release_below(self.store.root(), F::GEOMETRY.top());
    }
}

impl<S: Store, F: Format> Tree<S, F> {
    /// Frees `table` and all tables below it. The depth is at most five.
    fn release_below(&self, table: Pfn, level: Level) {
        if let Some(below) = F::GEOMETRY.below(level) {
            let words = self.store.words(table);
            for index in 0..self.tops.own_entries::<F>(level) {
                let entry = words.load::<F>(index);
                if entry.is_table(level) {
                    self.release_below(frame_of(entry, level), below);
                }
            }
        }
        self.store.release(table);
    }
}

impl<S: Store, F: Format> fmt::Debug for Tree<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tables at {:?}", self.root())
    }
}
