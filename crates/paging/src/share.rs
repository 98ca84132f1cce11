//! Top entries that several spaces have in common.

use foliant_arch::{Entry, Format, Level};
use foliant_platform::sync::atomic::Ordering;
use foliant_units::Vpn;

use crate::descend::Missing;
use crate::mutant::{Mutant, seeded};
use crate::store::{Header, Store, Words};
use crate::tree::Tree;

/// Whose the tables below the top entries are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tops {
    /// All are this tree's alone.
    Own,
    /// From this index on, another tree's.
    Foreign(usize),
    /// All are this tree's, and other trees link them too.
    Lent,
}

/// What [`Tree::sync_top`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopSync {
    /// The entry was not there, or another one; it is now.
    Copied,
    /// The entry was the same: the top is not what is missing.
    Same,
    /// The lender has nothing there either, or the entry is not a shared one.
    Missing,
}

impl Tops {
    /// How many of the entries of a table of `level`, from the first, lead to
    /// tables of the tree itself.
    pub(crate) fn own_entries<F: Format>(self, level: Level) -> usize {
        match self {
            Tops::Foreign(first) if level == F::GEOMETRY.top() => first,
            _ => F::GEOMETRY.entries(level),
        }
    }

    /// Whether the entry of `level` for `page` leads to another tree's tables.
    pub(crate) fn is_foreign<F: Format>(self, level: Level, page: Vpn) -> bool {
        F::GEOMETRY.index(level, page) >= self.own_entries::<F>(level)
    }
}

impl<S: Store, F: Format> Tree<S, F> {
    /// The same tree, whose tables right below the root stay for good, because
    /// others may link them.
    #[must_use]
    pub fn lending(mut self) -> Self {
        self.tops = Tops::Lent;
        self
    }

    /// The same tree, whose top entries from that of `first` on are another
    /// tree's: [`sync_top`](Tree::sync_top) copies them, and what is below them
    /// is neither pruned nor freed here.
    #[must_use]
    pub fn sharing_from(mut self, first: Vpn) -> Self {
        self.tops = Tops::Foreign(F::GEOMETRY.index(F::GEOMETRY.top(), first));
        self
    }

    /// Copies the top entry of `page` from the tree that lends it.
    ///
    /// The lender never takes a top entry back while it lives, so what a CPU
    /// may have cached stays right, and it is enough to copy when a fault shows
    /// that an entry is missing. The caller sees to it that the lender outlives
    /// this tree.
    ///
    /// # Locking
    /// The lock of this tree's root.
    ///
    /// # Linux source concept
    /// `vmalloc_fault()`, and `sync_global_pgds()` for those who are early.
    pub fn sync_top(&self, lender: &Self, page: Vpn) -> TopSync {
        let level = F::GEOMETRY.top();
        if lender.tops != Tops::Lent || !self.tops.is_foreign::<F>(level, page) {
            return TopSync::Missing;
        }
        let words = lender.store.words(lender.store.root());
        let theirs = words.load::<F>(F::GEOMETRY.index(level, page));
        if theirs.is_empty() {
            return TopSync::Missing;
        }
        if seeded(Mutant::SyncWithoutLock) {
            return self.sync_badly(theirs, page);
        }
        // The root is never missing, so nothing is allocated.
        let Ok(Some(mut root)) = self.lock_level(page, level, Missing::Skip) else {
            return TopSync::Missing;
        };
        if root.get(page) == theirs {
            return TopSync::Same;
        }
        root.replace(page, theirs);
        TopSync::Copied
    }

    /// What the models must notice: look and store in two steps.
    #[cold]
    fn sync_badly(&self, theirs: F::Entry, page: Vpn) -> TopSync {
        let root = self.store.root();
        let words = self.store.words(root);
        let index = F::GEOMETRY.index(F::GEOMETRY.top(), page);
        if words.load::<F>(index) == theirs {
            return TopSync::Same;
        }
        let header = self.store.header(root);
        let live = header.live().load(Ordering::Relaxed);
        words.store::<F>(index, theirs);
        header.live().store(live + 1, Ordering::Relaxed);
        TopSync::Copied
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    extern crate std;

    use std::vec::Vec;

    use foliant_arch::x86_64::{Pte, PteFlags};
    use foliant_units::{Pfn, VpnRange};

    use super::*;
    use crate::gather::GatherOf;
    use crate::model_store::{ModelStore, Tiny};

    const KERNEL: Vpn = Vpn::new(4);

    fn map(tree: &Tree<ModelStore, Tiny>, page: Vpn) {
        let mut leaf = tree.lock_leaf(page, Missing::Allocate).unwrap().unwrap();
        leaf.set(page, Pte::new(Pfn::new(0x10), PteFlags::PRESENT));
    }

    #[test]
    fn a_missing_top_is_copied_once_and_stays_the_lenders() {
        let kernel = Tree::in_store(ModelStore::new(8, 2)).lending();
        let space = Tree::in_store(ModelStore::new(8, 2)).sharing_from(KERNEL);
        assert_eq!(space.sync_top(&kernel, KERNEL), TopSync::Missing);
        map(&kernel, KERNEL);
        // Tables of different stores have the same numbers here, so what is
        // below the copied entry is looked at through the lender only.
        assert_eq!(space.sync_top(&kernel, KERNEL), TopSync::Copied);
        assert_eq!(space.sync_top(&kernel, KERNEL), TopSync::Same);
        assert_eq!(space.sync_top(&kernel, Vpn::ZERO), TopSync::Missing);
        assert_eq!(kernel.sync_top(&space, KERNEL), TopSync::Missing);

        let all = VpnRange::new(Vpn::ZERO, Vpn::new(8));
        let mut gather = GatherOf::new(&space);
        space.free_range(all, &mut gather);
        gather.finish();
        let mut found = Vec::new();
        space.audit(&mut |violation| found.push(violation));
        assert_eq!(found, []);
        assert_eq!(space.sync_top(&kernel, KERNEL), TopSync::Same);
    }

    #[test]
    fn the_lender_keeps_the_tables_below_its_top() {
        let kernel = Tree::in_store(ModelStore::new(8, 2)).lending();
        map(&kernel, KERNEL);
        let pages = VpnRange::new(Vpn::ZERO, Vpn::new(8));
        let mut gather = GatherOf::new(&kernel);
        kernel
            .lock_leaf(KERNEL, Missing::Skip)
            .unwrap()
            .unwrap()
            .take(KERNEL);
        gather.removed(pages);
        kernel.free_range(pages, &mut gather);
        gather.finish();
        assert_eq!(kernel.tables(Level::PTE), 0);
        assert_eq!(kernel.tables(Level::PMD), 1);
    }
}
