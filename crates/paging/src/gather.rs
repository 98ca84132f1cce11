//! What was unmapped and is not flushed yet.

use foliant_arch::Format;
use foliant_platform::{Flush, FlushKind};
use foliant_units::{Pfn, PfnRange, VpnRange};

use crate::mutant::{Mutant, seeded};
use crate::store::Store;
use crate::tree::Tree;

/// Separate ranges that one flush names; with more, neighbours are joined.
const RANGES: usize = 16;
/// Runs of neighbouring frames that one flush waits for.
const RUNS: usize = 96;
/// Unlinked tables that one flush waits for.
const TABLES: usize = 32;

/// A debt: translations that CPUs may still have, and the frames and tables
/// that must not be used again before they are gone.
///
/// It has a fixed size and never allocates, because unmapping must work when
/// there is no memory. When it is full it pays at once and goes on; dropping
/// it pays too, so an early return leaves no debt.
///
/// # Locking
/// [`flush`](Self::flush) and [`finish`](Self::finish), and so dropping it,
/// wait for other CPUs, and for descents where many unlinked tables wait for
/// them: hold no table lock and no [`Reader`](crate::Reader). Under a table lock ask
/// [`has_room`](Self::has_room) before an entry is taken out;
/// [`edit_range`](Tree::edit_range) does the rest.
///
/// # Linux source concept
/// `struct mmu_gather`.
#[must_use = "flush before the frames can be reused"]
pub struct GatherOf<'t, S: Store, F: Format> {
    tree: &'t Tree<S, F>,
    ranges: [VpnRange; RANGES],
    range_count: usize,
    runs: [PfnRange; RUNS],
    run_count: usize,
    tables: [Pfn; TABLES],
    table_count: usize,
    kind: FlushKind,
}

impl<'t, S: Store, F: Format> GatherOf<'t, S, F> {
    /// No debt yet, for `tree`.
    pub fn new(tree: &'t Tree<S, F>) -> Self {
        Self {
            tree,
            ranges: [VpnRange::default(); RANGES],
            range_count: 0,
            runs: [PfnRange::default(); RUNS],
            run_count: 0,
            tables: [Pfn::ZERO; TABLES],
            table_count: 0,
            kind: FlushKind::Demoted,
        }
    }

    /// Whether there is nothing to pay.
    pub fn is_empty(&self) -> bool {
        self.range_count == 0 && self.run_count == 0 && self.table_count == 0
    }

    /// Translations of `pages` are gone or point elsewhere.
    pub fn removed(&mut self, pages: VpnRange) {
        self.kind = FlushKind::Removed;
        self.add_range(pages);
    }

    /// Translations of `pages` lost rights or their dirty bit.
    pub fn demoted(&mut self, pages: VpnRange) {
        self.add_range(pages);
    }

    /// Whether [`frame`](Self::frame) will take one more frame, whichever it is.
    pub fn has_room(&self) -> bool {
        self.run_count < RUNS
    }

    /// Takes over one reference to `frame`, given back after the flush.
    /// Neighbours given in ascending order need no room of their own.
    ///
    /// # Errors
    /// The frame, when there [is no room](Self::has_room): drop the table lock,
    /// [`flush`](Self::flush), and come again.
    pub fn frame(&mut self, frame: Pfn) -> Result<(), Pfn> {
        if let Some(last) = self.runs[..self.run_count].last_mut()
            && last.end == frame
        {
            last.end += 1;
            return Ok(());
        }
        if self.run_count == RUNS {
            return Err(frame);
        }
        self.runs[self.run_count] = PfnRange::new(frame, frame + 1);
        self.run_count += 1;
        Ok(())
    }

    /// Flushes, gives the frames back and frees the tables.
    pub fn flush(&mut self) {
        if self.is_empty() {
            return;
        }
        if seeded(Mutant::PutBeforeFlush) {
            self.put_frames();
        }
        self.tree.store.flush(Flush {
            ranges: &self.ranges[..self.range_count],
            kind: self.kind,
            tables_freed: self.table_count != 0,
        });
        self.put_frames();
        self.retire_tables();
        self.range_count = 0;
        self.kind = FlushKind::Demoted;
    }

    fn put_frames(&mut self) {
        for run in &self.runs[..self.run_count] {
            for frame in run.iter() {
                self.tree.store.put_frame(frame);
            }
        }
        self.run_count = 0;
    }

    /// Pays the debt.
    pub fn finish(mut self) {
        self.flush();
    }

    /// Whether [`add_table`](Self::add_table) will take one more.
    pub(crate) fn has_room_for_table(&self) -> bool {
        self.table_count < TABLES
    }

    /// An unlinked table that covered `pages`; the gather has room for it.
    pub(crate) fn add_table(&mut self, pages: VpnRange, table: Pfn) {
        self.removed(pages);
        self.tables[self.table_count] = table;
        self.table_count += 1;
    }

    fn add_range(&mut self, pages: VpnRange) {
        if pages.is_empty() {
            return;
        }
        if let Some(last) = self.ranges[..self.range_count].last_mut()
            && pages.start <= last.end
            && last.start <= pages.end
        {
            *last = hull(*last, pages);
            return;
        }
        if self.range_count == RANGES {
            self.join_nearest();
        }
        self.ranges[self.range_count] = pages;
        self.range_count += 1;
    }

    /// Makes room by closing the smallest gap between two ranges that were
    /// added one after the other. Too much is right, too little never.
    fn join_nearest(&mut self) {
        let gap = |pair: &[VpnRange]| {
            let joined = hull(pair[0], pair[1]);
            joined.len().saturating_sub(pair[0].len() + pair[1].len())
        };
        let nearest = self
            .ranges
            .windows(2)
            .enumerate()
            .min_by_key(|(_, pair)| gap(pair));
        let at = nearest.map_or(0, |(at, _)| at);
        self.ranges[at] = hull(self.ranges[at], self.ranges[at + 1]);
        self.ranges.copy_within(at + 2.., at + 1);
        self.range_count -= 1;
    }

    fn retire_tables(&mut self) {
        if self.table_count != 0 {
            self.tree.store.enter();
            let mut limbo = self.tree.limbo.lock();
            let stamp = self.tree.epoch.stamp();
            for &table in &self.tables[..self.table_count] {
                limbo.add(&self.tree.store, stamp, table);
            }
            self.table_count = 0;
            drop(limbo);
            self.tree.store.leave();
            self.tree.hold_back();
        }
    }
}

fn hull(one: VpnRange, other: VpnRange) -> VpnRange {
    VpnRange::new(one.start.min(other.start), one.end.max(other.end))
}

impl<S: Store, F: Format> Drop for GatherOf<'_, S, F> {
    fn drop(&mut self) {
        self.flush();
    }
}
