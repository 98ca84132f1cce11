//! Editing tables that nobody else uses.

use foliant_arch::{Entry, Format, Level};
use foliant_phys::AllocError;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::store::{Header, Store, Words};
use crate::tree::{Tree, frame_of};

/// The table that the last page was in.
struct Current<'t, S: Store + 't> {
    words: S::Words<'t>,
    table: Pfn,
    range: VpnRange,
}

/// A cursor over tables that no CPU walks and no other thread edits: a space
/// under construction or in its last hour. No locks, plain stores, and the
/// last leaf table is remembered, so that neighbours cost no descent.
pub struct ExclusiveTables<'t, S: Store, F: Format> {
    tree: &'t Tree<S, F>,
    current: Option<Current<'t, S>>,
}

impl<S: Store, F: Format> Tree<S, F> {
    /// A cursor with plain stores; the borrow keeps everybody else out. That no
    /// CPU walks the tables is the caller's promise: a CPU that does may lose
    /// accessed and dirty bits, nothing worse.
    pub fn exclusive(&mut self) -> ExclusiveTables<'_, S, F> {
        ExclusiveTables {
            tree: self,
            current: None,
        }
    }
}

impl<'t, S: Store, F: Format> ExclusiveTables<'t, S, F> {
    /// The entry of `page`; of a page without table, empty.
    pub fn get(&mut self, page: Vpn) -> F::Entry {
        match self.at(page) {
            Some(words) => F::Entry::from_raw(words.load(F::GEOMETRY.index(Level::PTE, page))),
            None => self.tree.get(page),
        }
    }

    /// Writes the entry of `page`, whatever was there.
    ///
    /// # Errors
    /// No memory for a table. Tables made on the way stay, empty.
    pub fn set(&mut self, page: Vpn, entry: F::Entry) -> Result<(), AllocError> {
        self.fill(VpnRange::new(page, page + 1), |_| entry)
    }

    /// Writes the entries of `pages`, whatever was there.
    ///
    /// # Errors
    /// No memory for a table; the pages below the first missing table are written.
    pub fn fill(&mut self, pages: VpnRange, entry: impl Fn(Vpn) -> F::Entry) -> Result<(), AllocError> {
        let step = F::GEOMETRY.entry_pages(Level::PTE);
        let mut at = pages.start;
        while at < pages.end {
            self.make(at)?;
            at = self.each(at, pages.end, step, |page, _| entry(page));
        }
        Ok(())
    }

    /// Changes each entry of `pages` that is not empty to what `change` makes of it.
    pub fn update(&mut self, pages: VpnRange, mut change: impl FnMut(Vpn, F::Entry) -> F::Entry) {
        let step = F::GEOMETRY.entry_pages(Level::PTE);
        let mut at = pages.start;
        while at < pages.end {
            if self.at(at).is_none() {
                let (_, level) = self.tree.look_up(at);
                at = F::GEOMETRY.entry_range(level, at).end;
                continue;
            }
            at = self.each(at, pages.end, step, |page, old| match old.is_empty() {
                true => old,
                false => change(page, old),
            });
        }
    }

    /// Rewrites the entries from `at` to the end of the current table or `end`;
    /// returns where it stopped.
    fn each(
        &mut self,
        at: Vpn,
        end: Vpn,
        step: u64,
        mut change: impl FnMut(Vpn, F::Entry) -> F::Entry,
    ) -> Vpn {
        let Some(current) = &self.current else { return end };
        let stop = current.range.end.min(end);
        let header = self.tree.store.header(current.table);
        let mut count = header.live().load(Ordering::Relaxed);
        let mut index = F::GEOMETRY.index(Level::PTE, at);
        let mut page = at;
        while page < stop {
            let old = F::Entry::from_raw(current.words.load(index));
            let new = change(page, old);
            if new != old {
                current.words.store_plain(index, new.raw());
                count = count + u32::from(old.is_empty()) - u32::from(new.is_empty());
            }
            index += 1;
            page += step;
        }
        header.live().store(count, Ordering::Relaxed);
        stop
    }

    /// The leaf table of `page`, if there is one.
    fn at(&mut self, page: Vpn) -> Option<S::Words<'t>> {
        if let Some(current) = &self.current
            && current.range.contains(page)
        {
            return Some(current.words);
        }
        let (table, level) = self.deepest(page);
        (level == Level::PTE).then(|| self.enter(table, page))
    }

    fn enter(&mut self, table: Pfn, page: Vpn) -> S::Words<'t> {
        let words = self.tree.store.words(table);
        let range = F::GEOMETRY.table_range(Level::PTE, page);
        self.current = Some(Current { words, table, range });
        words
    }

    /// Makes the tables for `page` and makes its leaf table the current one.
    fn make(&mut self, page: Vpn) -> Result<(), AllocError> {
        while self.at(page).is_none() {
            let (table, level) = self.deepest(page);
            let Some(below) = F::GEOMETRY.below(level) else {
                return Ok(());
            };
            let spare = self.tree.spare(below)?;
            let index = F::GEOMETRY.index(level, page);
            let words = self.tree.store.words(table);
            debug_assert!(
                words.load(index) == 0,
                "a large mapping is in the way at {page:?}"
            );
            words.store(index, F::Entry::link(spare.table().base(), level).raw());
            let header = self.tree.store.header(table);
            let live = header.live().load(Ordering::Relaxed);
            header.live().store(live + 1, Ordering::Relaxed);
            self.tree.count(below, true);
            spare.linked();
        }
        Ok(())
    }

    /// The lowest table on the way to `page`.
    fn deepest(&self, page: Vpn) -> (Pfn, Level) {
        let mut table = self.tree.store.root();
        let mut level = F::GEOMETRY.top();
        while let Some(below) = F::GEOMETRY.below(level) {
            let word = self.tree.store.words(table).load(F::GEOMETRY.index(level, page));
            let entry = F::Entry::from_raw(word);
            if !entry.is_table(level) {
                break;
            }
            table = frame_of(entry, level);
            level = below;
        }
        (table, level)
    }
}
