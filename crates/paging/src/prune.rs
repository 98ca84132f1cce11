//! Unlinking tables that have become empty.

use core::ops::ControlFlow;

use foliant_arch::{Entry, Format, Level};
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::gather::GatherOf;
use crate::leaf::TableGuard;
use crate::mutant::{Mutant, seeded};
use crate::share::Tops;
use crate::store::{Store, Words};
use crate::tree::{Tree, frame_of};

impl<S: Store, F: Format> Tree<S, F> {
    /// Unlinks every table that covers nothing outside `range` and is empty,
    /// and hands it to `gather`, which frees it after the flush. The root stays.
    ///
    /// A caller that knows of more unused room around the pages it unmapped
    /// gives the wider range, so that tables shared with gone neighbours go too.
    ///
    /// # Locking
    /// Takes one table lock at a time. Others may fault in the range: a table
    /// that gets an entry in time is left alone. Where there are many tables the
    /// gather is flushed on the way.
    ///
    /// # Linux source concept
    /// `free_pgtables()` with its floor and ceiling.
    pub fn free_range(&self, range: VpnRange, gather: &mut GatherOf<'_, S, F>) {
        let mut from = range.start;
        loop {
            // The pin keeps the tables that this walk stands on. It ends before
            // the flush, which waits for pins.
            let pin = self.pin();
            let walked = self.prune(self.store.root(), F::GEOMETRY.top(), range, from, gather);
            if seeded(Mutant::FlushPinned) {
                gather.flush();
            }
            drop(pin);
            let ControlFlow::Break(reached) = walked else {
                return;
            };
            gather.flush();
            from = reached;
        }
    }

    /// Prunes the children of `table`, a table of `level`, from the page `from`
    /// on. Breaks where the gather has no room for another table.
    fn prune(
        &self,
        table: Pfn,
        level: Level,
        range: VpnRange,
        from: Vpn,
        gather: &mut GatherOf<'_, S, F>,
    ) -> ControlFlow<Vpn> {
        let Some(below) = F::GEOMETRY.below(level) else {
            return ControlFlow::Continue(());
        };
        let start = from.max(range.start);
        if start >= range.end {
            return ControlFlow::Continue(());
        }
        let words = self.store.words(table);
        let (first, pages) = (F::GEOMETRY.index(level, start), F::GEOMETRY.entry_pages(level));
        let base = F::GEOMETRY.entry_range(level, start).start;
        // No table goes on beyond the end of the address space.
        let room = (F::GEOMETRY.entries(level) - first) as u64;
        // A hole may be most of the address space, and nearly all of it nothing.
        for nth in 0..(range.end - base).div_ceil(pages).min(room) {
            let entry = words.load::<F>(first + nth as usize);
            if entry.is_empty() || !entry.is_table(level) {
                continue;
            }
            let at = (base + nth * pages).max(start);
            if self.tops.is_foreign::<F>(level, at) {
                continue;
            }
            let span = F::GEOMETRY.entry_range(level, at);
            let child = frame_of(entry, level);
            self.prune(child, below, range.intersect(span), at, gather)?;
            let stays = level == F::GEOMETRY.top() && self.tops == Tops::Lent;
            if range.covers(span) && !stays {
                if !gather.has_room_for_table() {
                    return ControlFlow::Break(at);
                }
                if self.try_detach(child, below, at) {
                    self.unlink(table, level, at);
                    self.count(below, false);
                    gather.add_table(span, child);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Detaches `table` if it is linked and empty.
    fn try_detach(&self, table: Pfn, level: Level, page: Vpn) -> bool {
        // A look without the lock first: most tables are not empty.
        if self.live(table) != 0 {
            return false;
        }
        match TableGuard::lock(self, table, level, page) {
            Some(guard) if guard.live() == 0 || seeded(Mutant::DetachBlindly) => {
                guard.detach();
                true
            }
            _ => false,
        }
    }

    /// Empties the entry of a detached table in the table above it.
    fn unlink(&self, above: Pfn, level: Level, page: Vpn) {
        // A table with a live entry is never detached, and this entry is live.
        let guard = TableGuard::lock(self, above, level, page);
        debug_assert!(guard.is_some(), "a table was detached with an entry in it");
        if let Some(mut guard) = guard {
            guard.replace(page, F::Entry::EMPTY);
        }
    }
}
