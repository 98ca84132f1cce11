//! From the root to a locked table.

use core::ops::ControlFlow;

use foliant_arch::{Entry, Format, Level};
use foliant_phys::AllocError;
use foliant_platform::sync::atomic::Ordering;
use foliant_platform::sync::relax;
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::gather::GatherOf;
use crate::leaf::TableGuard;
use crate::mutant::{Mutant, seeded};
use crate::store::{Header, Store, Words};
use crate::tree::{Tree, frame_of};
use crate::unrolled::for_each_linking_level;

/// How often unlinked tables are waited for before memory is out: others may
/// be as quick to take what was freed.
const DRAINS: u32 = 3;

/// What to do where a table is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Make it.
    Allocate,
    /// Leave it and say so.
    Skip,
}

/// Where a descent ended.
pub(crate) enum End {
    /// At the table of the wanted level, or above it at one whose entry maps
    /// memory or is absent.
    Table { table: Pfn, level: Level },
    /// At an empty entry above the wanted level.
    Hole { table: Pfn, level: Level },
}

/// A locked table, or the pages for which there is none.
pub(crate) enum Locked<'t, S: Store, F: Format> {
    Table(TableGuard<'t, S, F>),
    Hole(VpnRange),
}

/// A table that is not linked yet; freed if it never is.
pub(crate) struct Spare<'t, S: Store> {
    store: &'t S,
    table: Pfn,
    level: Level,
}

impl<S: Store> Spare<'_, S> {
    pub(crate) fn table(&self) -> Pfn {
        self.table
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The caller has linked it.
    pub(crate) fn linked(self) {
        core::mem::forget(self);
    }
}

impl<S: Store> Drop for Spare<'_, S> {
    fn drop(&mut self) {
        self.store.release(self.table);
    }
}

impl<S: Store, F: Format> Tree<S, F> {
    /// Locks the leaf table that decides about `page`. Where a large mapping
    /// or an absent entry stands above, the guard is for that entry alone.
    ///
    /// `None` if the table is missing and `missing` says to skip it.
    ///
    /// # Errors
    /// No memory for a missing table. Tables made on the way stay, empty; the
    /// next [`free_range`](Tree::free_range) takes them.
    ///
    /// # Locking
    /// The caller holds no other table lock; allocation may sleep.
    ///
    /// # Linux source concept
    /// `pte_offset_map_lock()` and, with [`Missing::Allocate`], `pte_alloc_map_lock()`.
    #[inline]
    pub fn lock_leaf(&self, page: Vpn, missing: Missing) -> Result<Option<TableGuard<'_, S, F>>, AllocError> {
        self.lock_level(page, Level::PTE, missing)
    }

    /// Locks the entry of `level` that decides about `page`, to map, change or
    /// take out a large page. If the entry [links a table](TableGuard::is_link),
    /// it is not to be changed.
    ///
    /// `None` if the table is missing and `missing` says to skip it.
    ///
    /// # Errors
    /// As [`lock_leaf`](Tree::lock_leaf).
    #[inline]
    pub fn lock_level(
        &self,
        page: Vpn,
        level: Level,
        missing: Missing,
    ) -> Result<Option<TableGuard<'_, S, F>>, AllocError> {
        match self.find(page, level, missing)? {
            Locked::Table(guard) => Ok(Some(guard)),
            Locked::Hole(_) => Ok(None),
        }
    }

    /// Visits the leaf tables of `range` in ascending order, one lock at a
    /// time. The callback gets the part of `range` that the guard covers.
    ///
    /// # Errors
    /// No memory for a missing table; everything before it was visited.
    pub fn for_each_leaf<B>(
        &self,
        range: VpnRange,
        missing: Missing,
        mut visit: impl FnMut(&mut TableGuard<'_, S, F>, VpnRange) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, AllocError> {
        let mut at = range.start;
        while at < range.end {
            at = match self.find(at, Level::PTE, missing)? {
                Locked::Hole(hole) => hole.end,
                Locked::Table(mut guard) => {
                    let part = guard.range().intersect(VpnRange::new(at, range.end));
                    if let ControlFlow::Break(value) = visit(&mut guard, part) {
                        return Ok(ControlFlow::Break(value));
                    }
                    part.end
                }
            };
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes entries out of `range` or weakens them, one leaf table after the
    /// other; tables that are missing are skipped.
    ///
    /// `edit` gets the guard, the pages still to do, and the gather; it returns
    /// how far it came. Where it stops short, as it must when the gather
    /// [has no room](GatherOf::has_room), the gather is flushed without a lock
    /// and `edit` goes on from there.
    ///
    /// # Linux source concept
    /// `unmap_page_range()`, whose `force_flush` is here a return value.
    pub fn edit_range(
        &self,
        range: VpnRange,
        gather: &mut GatherOf<'_, S, F>,
        mut edit: impl FnMut(&mut TableGuard<'_, S, F>, VpnRange, &mut GatherOf<'_, S, F>) -> Vpn,
    ) {
        let mut at = range.start;
        while at < range.end {
            // Without allocation `find` cannot fail.
            let Ok(found) = self.find(at, Level::PTE, Missing::Skip) else {
                return;
            };
            at = match found {
                Locked::Hole(hole) => hole.end,
                Locked::Table(mut guard) => {
                    let part = guard.range().intersect(VpnRange::new(at, range.end));
                    let reached = edit(&mut guard, part, gather);
                    drop(guard);
                    if reached < part.end {
                        gather.flush();
                    }
                    reached
                }
            };
        }
    }

    /// The table of `wanted` for `page`, or what there is instead, locked.
    #[inline]
    pub(crate) fn find(
        &self,
        page: Vpn,
        wanted: Level,
        missing: Missing,
    ) -> Result<Locked<'_, S, F>, AllocError> {
        // Nearly always the table is there and at rest.
        let pin = self.pin();
        let end = self.descend(page, wanted);
        if let End::Table { table, level } = end
            && let Some(guard) = TableGuard::lock(self, table, level, page)
            && (level == wanted || guard.is_large())
        {
            return Ok(Locked::Table(guard));
        }
        drop(pin);
        self.find_slowly(page, wanted, missing, end)
    }

    /// The same after a first descent that came to `end`.
    #[cold]
    fn find_slowly(
        &self,
        page: Vpn,
        wanted: Level,
        missing: Missing,
        end: End,
    ) -> Result<Locked<'_, S, F>, AllocError> {
        // What will be needed, so that one more descent is enough.
        let mut spare = match end {
            End::Hole { level, .. } if missing == Missing::Allocate => self.spare_below(level)?,
            _ => None,
        };
        let mut spins = 0;
        loop {
            let pin = self.pin();
            match self.descend(page, wanted) {
                End::Table { table, level } => {
                    if let Some(guard) = TableGuard::lock(self, table, level, page)
                        && (level == wanted || guard.is_large())
                    {
                        return Ok(Locked::Table(guard));
                    }
                    // Whoever detached the table is about to unlink it.
                    drop(pin);
                    relax(&mut spins);
                }
                End::Hole { level, .. } if missing == Missing::Skip => {
                    return Ok(Locked::Hole(F::GEOMETRY.entry_range(level, page)));
                }
                End::Hole { table, level } => match spare.take() {
                    Some(ready) if Some(ready.level) == F::GEOMETRY.below(level) => {
                        let below = (ready.table, ready.level);
                        spare = self.link(page, table, level, ready);
                        if spare.is_none()
                            && below.1 == wanted
                            && let Some(guard) = TableGuard::lock(self, below.0, wanted, page)
                        {
                            return Ok(Locked::Table(guard));
                        }
                        drop(pin);
                        if spare.is_some() {
                            relax(&mut spins);
                        }
                    }
                    _ => {
                        drop(pin);
                        spare = self.spare_below(level)?;
                    }
                },
            }
        }
    }

    /// A table for an entry of `level` to link.
    fn spare_below(&self, level: Level) -> Result<Option<Spare<'_, S>>, AllocError> {
        F::GEOMETRY
            .below(level)
            .map(|below| self.spare(below))
            .transpose()
    }

    /// A table to be linked. Before memory is declared out, unlinked tables
    /// whose readers are about to leave are waited for.
    ///
    /// # Locking
    /// The caller holds no table lock and no pin.
    pub(crate) fn spare(&self, level: Level) -> Result<Spare<'_, S>, AllocError> {
        let mut outcome = self.store.allocate(level);
        for _ in 0..DRAINS {
            if outcome != Err(AllocError::OutOfMemory) {
                break;
            }
            self.drain();
            outcome = self.store.allocate(level);
        }
        Ok(Spare {
            store: &self.store,
            table: outcome?,
            level,
        })
    }

    /// Reads down to `wanted`; the caller has pinned the epoch.
    #[inline]
    pub(crate) fn descend(&self, page: Vpn, wanted: Level) -> End {
        let mut table = self.store.root();
        for_each_linking_level!(F, level => {
            if level == wanted {
                return End::Table { table, level };
            }
            let entry = self.store.words(table).load::<F>(F::GEOMETRY.index(level, page));
            if entry.is_empty() {
                return End::Hole { table, level };
            }
            if !entry.is_table(level) {
                return End::Table { table, level };
            }
            table = frame_of(entry, level);
        });
        End::Table {
            table,
            level: Level::PTE,
        }
    }

    /// Links `spare` where `table` has an empty entry for `page`; gives it back
    /// if somebody else was faster or the table is detached.
    fn link<'s>(&'s self, page: Vpn, table: Pfn, level: Level, spare: Spare<'s, S>) -> Option<Spare<'s, S>> {
        let Some(mut guard) = TableGuard::lock(self, table, level, page) else {
            return Some(spare);
        };
        if !guard.get(page).is_empty() && !seeded(Mutant::LinkBlindly) {
            return Some(spare);
        }
        if seeded(Mutant::LinkRelaxed) {
            // After the pin, whose fence in the model would publish it.
            self.clear(&spare);
        }
        guard.put_link(page, spare.table());
        if seeded(Mutant::LinkUncleared) {
            self.clear(&spare);
        }
        self.count(spare.level, true);
        spare.linked();
        None
    }

    /// Empties a table that the store gave out as it was, for two mutants.
    fn clear(&self, spare: &Spare<'_, S>) {
        let words = self.store.words(spare.table());
        for index in 0..F::GEOMETRY.entries(spare.level) {
            words.store_plain::<F>(index, F::Entry::EMPTY);
        }
    }

    /// Live entries of `table`, for checks.
    pub(crate) fn live(&self, table: Pfn) -> u32 {
        self.store.header(table).live().load(Ordering::Relaxed)
    }

    /// Adds `change`, which may be a negative number's complement, to the live
    /// entries of a table that nobody else changes.
    #[inline]
    pub(crate) fn add_live(&self, table: Pfn, change: u32) {
        let header = self.store.header(table);
        let live = header.live().load(Ordering::Relaxed);
        header.live().store(live.wrapping_add(change), Ordering::Relaxed);
    }
}
