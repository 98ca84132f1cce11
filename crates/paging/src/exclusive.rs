//! Editing tables that nobody else uses.

use foliant_arch::{Entry, Format, Geometry, Level};
use foliant_phys::AllocError;
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::descend::End;
use crate::group;
use crate::store::{Store, Words};
use crate::tree::{Tree, frame_of};

/// The leaf table that the last page was in.
struct Current<'t, S: Store + 't> {
    words: S::Words<'t>,
    table: Pfn,
    range: VpnRange,
}

/// The last table whose entries link leaf tables.
struct Directory<'t, S: Store + 't> {
    words: S::Words<'t>,
    /// Number of its part of the address space; not that of any before the
    /// first descent.
    number: u64,
}

/// A cursor over tables that no CPU walks and no other thread edits: a space
/// under construction or in its last hour. No locks, plain stores, and the
/// last leaf table and the one above it are remembered, so that neighbours
/// cost no descent and pages near by one step.
pub struct ExclusiveTables<'t, S: Store, F: Format> {
    tree: &'t Tree<S, F>,
    current: Option<Current<'t, S>>,
    directory: Directory<'t, S>,
}

impl<S: Store, F: Format> Tree<S, F> {
    /// A cursor with plain stores; the borrow keeps everybody else out. That no
    /// CPU walks the tables is the caller's promise: a CPU that does may lose
    /// accessed and dirty bits, nothing worse.
    pub fn exclusive(&mut self) -> ExclusiveTables<'_, S, F> {
        ExclusiveTables {
            directory: Directory {
                words: self.store.words(self.store.root()),
                number: u64::MAX,
            },
            current: None,
            tree: self,
        }
    }
}

impl<'t, S: Store, F: Format> ExclusiveTables<'t, S, F> {
    /// The entry of `page`; of a page without table, empty.
    pub fn get(&mut self, page: Vpn) -> F::Entry {
        match self.leaf(page) {
            Some(table) => {
                let index = F::GEOMETRY.index(Level::PTE, page);
                self.tree.store.words(table).load::<F>(index)
            }
            None => self.tree.get(page),
        }
    }

    /// Writes the entry of `page`, whatever was there. A large mapping in the
    /// way is split first.
    ///
    /// # Errors
    /// No memory for a table. Tables made on the way stay, empty.
    #[inline]
    pub fn set(&mut self, page: Vpn, entry: F::Entry) -> Result<(), AllocError> {
        let Some(table) = self.leaf(page) else {
            return self.set_slowly(page, entry);
        };
        self.put(table, page, entry);
        Ok(())
    }

    #[inline]
    fn put(&self, table: Pfn, page: Vpn, entry: F::Entry) {
        let words = self.tree.store.words(table);
        let index = F::GEOMETRY.index(Level::PTE, page);
        let old = words.load::<F>(index);
        if old.is_grouped() {
            group::dissolve::<S, F>(words, Level::PTE, index);
        }
        words.store_plain::<F>(index, entry);
        if old.is_empty() != entry.is_empty() {
            let change = if entry.is_empty() { u32::MAX } else { 1 };
            self.tree.add_live(table, change);
        }
    }

    #[cold]
    fn set_slowly(&mut self, page: Vpn, entry: F::Entry) -> Result<(), AllocError> {
        let table = self.make(page)?;
        self.put(table, page, entry);
        Ok(())
    }

    /// Writes the entries of `pages`, whatever was there. Large mappings in the
    /// way are split first.
    ///
    /// # Errors
    /// No memory for a table; the pages below the first missing table are written.
    pub fn fill(&mut self, pages: VpnRange, entry: impl Fn(Vpn) -> F::Entry) -> Result<(), AllocError> {
        let step = F::GEOMETRY.entry_pages(Level::PTE);
        let mut at = pages.start;
        while at < pages.end {
            if !self.at(at) {
                let table = self.make(at)?;
                self.enter(table, at);
            }
            at = self.each(at, pages.end, step, |page, _| Some(entry(page)));
        }
        Ok(())
    }

    /// Changes each entry of `pages` that is not empty to what `change` makes
    /// of it. Large mappings stay as they are.
    pub fn update(&mut self, pages: VpnRange, mut change: impl FnMut(Vpn, F::Entry) -> F::Entry) {
        let step = F::GEOMETRY.entry_pages(Level::PTE);
        let mut at = pages.start;
        while at < pages.end {
            if !self.at(at) {
                let (_, level) = self.tree.look_up(at);
                at = F::GEOMETRY.entry_range(level, at).end;
                continue;
            }
            at = self.each(at, pages.end, step, |page, old| {
                (!old.is_empty()).then(|| change(page, old))
            });
        }
    }

    /// Rewrites the entries from `at` to the end of the current table or `end`,
    /// but for those that `change` leaves alone; returns where it stopped.
    fn each(
        &mut self,
        at: Vpn,
        end: Vpn,
        step: u64,
        mut change: impl FnMut(Vpn, F::Entry) -> Option<F::Entry>,
    ) -> Vpn {
        let Some(current) = &self.current else { return end };
        let stop = current.range.end.min(end);
        let entries = const { F::GEOMETRY.entries(Level::PTE) };
        let first = F::GEOMETRY.index(Level::PTE, at);
        // The bound by the table's size is for the compiler, which then knows
        // that no entry lies behind it.
        let todo = ((stop - at).div_ceil(step) as usize).min(entries - first);
        let mut count = 0u32;
        let mut page = at;
        for index in first..first + todo {
            let mut old = current.words.load::<F>(index);
            if old.is_grouped() {
                group::dissolve::<S, F>(current.words, Level::PTE, index);
                old = current.words.load::<F>(index);
            }
            if let Some(new) = change(page, old) {
                current.words.store_plain::<F>(index, new);
                count = count
                    .wrapping_add(u32::from(old.is_empty()))
                    .wrapping_sub(u32::from(new.is_empty()));
            }
            page += step;
        }
        self.tree.add_live(current.table, count);
        stop
    }

    /// Makes the leaf table of `page` the current one; false if there is none.
    #[inline]
    fn at(&mut self, page: Vpn) -> bool {
        let is_current = |leaf: &Current<'t, S>| leaf.range.contains(page);
        if self.current.as_ref().is_some_and(is_current) {
            return true;
        }
        match self.leaf(page) {
            Some(table) => {
                self.enter(table, page);
                true
            }
            None => false,
        }
    }

    fn enter(&mut self, table: Pfn, page: Vpn) {
        self.current = Some(Current {
            words: self.tree.store.words(table),
            table,
            range: F::GEOMETRY.table_range(Level::PTE, page),
        });
    }

    /// The leaf table of `page`, if there is one.
    #[inline]
    fn leaf(&mut self, page: Vpn) -> Option<Pfn> {
        let level = const { above_leaf(&F::GEOMETRY) };
        let number = page.raw() / const { F::GEOMETRY.table_pages(above_leaf(&F::GEOMETRY)) };
        if number != self.directory.number {
            self.directory.words = self.directory_of(page)?;
            self.directory.number = number;
        }
        let link = self.directory.words.load::<F>(F::GEOMETRY.index(level, page));
        link.is_table(level).then(|| frame_of(link, level))
    }

    /// The table whose entries link leaf tables, if there is one for `page`.
    fn directory_of(&self, page: Vpn) -> Option<S::Words<'t>> {
        let level = const { above_leaf(&F::GEOMETRY) };
        match self.tree.descend(page, level) {
            End::Table { table, level: found } if found == level => Some(self.tree.store.words(table)),
            _ => None,
        }
    }

    /// Makes the leaf table of `page` and the tables above that are missing.
    #[cold]
    fn make(&mut self, page: Vpn) -> Result<Pfn, AllocError> {
        loop {
            let (above, level) = match self.tree.descend(page, Level::PTE) {
                End::Table { table, level } if level == Level::PTE => return Ok(table),
                End::Table { table, level } | End::Hole { table, level } => (table, level),
            };
            // Above the leaf level there always is a level below.
            let below = F::GEOMETRY.below(level).unwrap_or(Level::PTE);
            let spare = self.tree.spare(below)?;
            let table = spare.table();
            let index = F::GEOMETRY.index(level, page);
            let words = self.tree.store.words(above);
            let old = words.load::<F>(index);
            if old.is_empty() {
                self.tree.add_live(above, 1);
            } else {
                self.tree.fill_parts(&spare, old);
            }
            words.store::<F>(index, F::link(table.base(), level));
            self.tree.count_alone(below);
            spare.linked();
            if below == Level::PTE {
                return Ok(table);
            }
        }
    }
}

/// The level whose entries link leaf tables.
const fn above_leaf(geometry: &Geometry) -> Level {
    let mut level = Level::PMD;
    while geometry.is_folded(level) {
        match level.up() {
            Some(up) => level = up,
            None => break,
        }
    }
    level
}
