//! One locked table.

use core::fmt;
use core::marker::PhantomData;

use foliant_arch::{Entry, Format, Level};
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::group;
use crate::lock;
use crate::mutant::{Mutant, seeded};
use crate::store::{Header, Store, Words};
use crate::tree::Tree;

/// The right to change the entries of one table; dropping it opens the table.
///
/// The hardware sets accessed and dirty bits of present entries at any time.
/// [`set`](Self::set) is therefore for entries that are not present;
/// [`replace`](Self::replace), [`update`](Self::update) and
/// [`compare_exchange`](Self::compare_exchange) lose no bit.
///
/// # Locking
/// A spin lock: the holder neither sleeps nor allocates nor takes a second
/// table lock.
#[must_use = "the table is open again as soon as the guard is dropped"]
pub struct TableGuard<'t, S: Store, F: Format> {
    tree: &'t Tree<S, F>,
    words: S::Words<'t>,
    header: S::Header<'t>,
    table: Pfn,
    level: Level,
    /// The first page of the range.
    first: Vpn,
    /// A lock taken with preemption off belongs to its CPU.
    not_send: PhantomData<*const ()>,
}

impl<'t, S: Store, F: Format> TableGuard<'t, S, F> {
    /// Locks `table`, of which the caller knows by a pinned descent; `None` if
    /// it was unlinked in the meantime.
    #[inline]
    pub(crate) fn lock(tree: &'t Tree<S, F>, table: Pfn, level: Level, page: Vpn) -> Option<Self> {
        let header = tree.store.header(table);
        tree.store.enter();
        if lock::lock(header.lock()).is_err() {
            tree.store.leave();
            return None;
        }
        // Above the leaf level the other entries are no business of the caller.
        let pages = match level {
            Level::PTE => F::GEOMETRY.table_pages(level),
            _ => F::GEOMETRY.entry_pages(level),
        };
        let words = tree.store.words(table);
        Some(Self {
            tree,
            words,
            header,
            table,
            level,
            first: page.align_down(pages),
            not_send: PhantomData,
        })
    }

    /// The pages whose entries this is the right to.
    #[inline]
    pub fn range(&self) -> VpnRange {
        match self.level {
            Level::PTE => F::GEOMETRY.table_range(self.level, self.first),
            level => F::GEOMETRY.entry_range(level, self.first),
        }
    }

    /// The level of the entries.
    #[inline]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The frame that holds the table.
    pub fn table(&self) -> Pfn {
        self.table
    }

    /// Entries of the table that are not empty.
    pub fn live(&self) -> usize {
        self.header.live().load(Ordering::Relaxed) as usize
    }

    /// The entry of `page`. Pages outside [`range`](Self::range) are a bug of
    /// the caller; in release builds they name some entry of the same table.
    #[inline]
    pub fn get(&self, page: Vpn) -> F::Entry {
        self.words.load::<F>(self.index(page))
    }

    /// Whether the one entry of this guard above the leaf level links a table.
    pub fn is_link(&self) -> bool {
        self.get(self.first).is_table(self.level)
    }

    /// Whether the entry of this guard above the leaf level stands for pages:
    /// mapped memory, or something absent.
    pub(crate) fn is_large(&self) -> bool {
        let entry = self.get(self.first);
        self.level != Level::PTE && !entry.is_empty() && !entry.is_table(self.level)
    }

    /// Writes the entry of `page`, which is not present now.
    #[inline]
    pub fn set(&mut self, page: Vpn, entry: F::Entry) {
        let old = self.get(page);
        debug_assert!(!old.is_present(), "the hardware may be changing {old:?}");
        self.words.store::<F>(self.index(page), entry);
        self.counted(old, entry);
    }

    /// Replaces the entry of `page`; returns it with all bits that the hardware had set.
    #[inline]
    pub fn replace(&mut self, page: Vpn, entry: F::Entry) -> F::Entry {
        self.leave_group(page);
        let old = self.words.swap::<F>(self.index(page), entry);
        self.counted(old, entry);
        old
    }

    /// Empties the entry of `page`; returns what it was.
    #[inline]
    pub fn take(&mut self, page: Vpn) -> F::Entry {
        // Emptying what is empty would be a write for nothing.
        if self.get(page).is_empty() {
            return F::Entry::EMPTY;
        }
        self.replace(page, F::Entry::EMPTY)
    }

    /// Replaces the entry of `page` if it still is `old`.
    ///
    /// # Errors
    /// What it is instead; only the hardware's bits can differ from what the
    /// holder of this guard wrote or read, and the word that it is one of a
    /// group, which ends here.
    #[inline]
    pub fn compare_exchange(&mut self, page: Vpn, old: F::Entry, new: F::Entry) -> Result<(), F::Entry> {
        self.leave_group(page);
        self.words.compare_exchange::<F>(self.index(page), old, new)?;
        self.counted(old, new);
        Ok(())
    }

    /// Changes the entry of `page` to what `change` makes of it, however often
    /// the hardware interferes; returns the entry before and after.
    #[inline]
    pub fn update(
        &mut self,
        page: Vpn,
        mut change: impl FnMut(F::Entry) -> F::Entry,
    ) -> (F::Entry, F::Entry) {
        let mut old = self.get(page);
        loop {
            let new = change(old);
            if new == old {
                return (old, new);
            }
            if old.is_grouped() {
                self.leave_group(page);
                old = self.get(page);
                continue;
            }
            if seeded(Mutant::UpdateByStore) {
                self.words.store::<F>(self.index(page), new);
                return (old, new);
            }
            match self.compare_exchange(page, old, new) {
                Ok(()) => return (old, new),
                Err(seen) => old = seen,
            }
        }
    }

    /// The entries of `pages` that are not empty, in ascending order, as they
    /// are when the iterator comes to them.
    pub fn entries(&self, pages: VpnRange) -> impl Iterator<Item = (Vpn, F::Entry)> {
        let pages = pages.intersect(self.range());
        let step = F::GEOMETRY.entry_pages(self.level);
        let count = pages.len().div_ceil(step);
        (0..count)
            .map(move |nth| pages.start + nth * step)
            .map(|page| (page, self.get(page)))
            .filter(|(_, entry)| !entry.is_empty())
    }

    /// Links `table` at the empty entry of `page`.
    pub(crate) fn put_link(&mut self, page: Vpn, table: Pfn) {
        let link = F::link(table.base(), self.level);
        // The store publishes the table's content to those who follow the link.
        if seeded(Mutant::LinkRelaxed) {
            self.words.store_plain::<F>(self.index(page), link);
        } else {
            self.words.store::<F>(self.index(page), link);
        }
        self.counted(F::Entry::EMPTY, link);
    }

    /// Marks the table as gone and opens nothing: nobody can lock it again.
    pub(crate) fn detach(self) {
        lock::detach(self.header.lock());
        self.tree.store.leave();
        core::mem::forget(self);
    }

    /// The entry of `page` is about to change: it is one of a group no more.
    #[inline]
    fn leave_group(&self, page: Vpn) {
        if self.get(page).is_grouped() {
            group::dissolve::<S, F>(self.words, self.level, self.index(page));
        }
    }

    /// Makes a group of `page` and its neighbours if all of them are leaves that
    /// map contiguous memory alike. CPUs may have their translations cached one
    /// by one, and not all processors bear both at once: there, the neighbours
    /// are taken out and flushed before they are set again and made a group.
    ///
    /// # Linux source concept
    /// `contpte_try_fold()`.
    pub fn join_group(&mut self, page: Vpn) -> bool {
        group::form::<S, F>(self.words, self.level, self.index(page))
    }

    /// Keeps the number of live entries right.
    #[inline]
    fn counted(&self, old: F::Entry, new: F::Entry) {
        let live = self.header.live().load(Ordering::Relaxed);
        let live = match (old.is_empty(), new.is_empty()) {
            (true, false) => live + 1,
            (false, true) => live - 1,
            _ => return,
        };
        // Only the holder of the lock writes it.
        self.header.live().store(live, Ordering::Relaxed);
    }

    #[inline]
    fn index(&self, page: Vpn) -> usize {
        debug_assert!(
            self.range().contains(page),
            "{page:?} is not in {:?}",
            self.range()
        );
        F::GEOMETRY.index(self.level, page)
    }
}

impl<S: Store, F: Format> Drop for TableGuard<'_, S, F> {
    #[inline]
    fn drop(&mut self) {
        lock::unlock(self.header.lock());
        self.tree.store.leave();
    }
}

impl<S: Store, F: Format> fmt::Debug for TableGuard<'_, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} table at {:?} for {:?}",
            self.level,
            self.table,
            self.range()
        )
    }
}
