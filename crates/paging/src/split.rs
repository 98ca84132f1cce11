//! Turning a large mapping into a table of smaller ones.

use foliant_arch::{Entry, Format, Level};
use foliant_phys::AllocError;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::Vpn;

use crate::descend::{Missing, Spare};
use crate::gather::GatherOf;
use crate::mutant::{Mutant, seeded};
use crate::store::{Header, Store, Words};
use crate::tree::Tree;

impl<S: Store, F: Format> Tree<S, F> {
    /// Splits the present mapping of `level` that holds `page` into a table of
    /// mappings one level below, which translate the same. The gather gets the
    /// large translation, which CPUs must forget before the parts change.
    ///
    /// `false` if there is no such mapping.
    ///
    /// # Errors
    /// No memory for the table; nothing has changed.
    ///
    /// # Linux source concept
    /// `__split_huge_pmd()`, the part about the tables.
    pub fn split(
        &self,
        page: Vpn,
        level: Level,
        gather: &mut GatherOf<'_, S, F>,
    ) -> Result<bool, AllocError> {
        let Some(below) = F::GEOMETRY.below(level) else {
            return Ok(false);
        };
        let spare = self.spare(below)?;
        let Some(mut guard) = self.lock_level(page, level, Missing::Skip)? else {
            return Ok(false);
        };
        let mut large = guard.get(page);
        if guard.level() != level || !large.is_present() || large.is_table(level) {
            return Ok(false);
        }

        let link = F::link(spare.table().base(), level);
        loop {
            self.fill_parts(&spare, large);
            // The hardware may have used or dirtied the mapping meanwhile.
            if seeded(Mutant::SplitByStore) {
                guard.replace(page, link);
                break;
            }
            match guard.compare_exchange(page, large, link) {
                Ok(()) => break,
                Err(seen) => large = seen,
            }
        }
        self.count(below, true);
        spare.linked();
        gather.removed(guard.range());
        Ok(true)
    }

    /// Makes `spare` translate as the large mapping from the level above does.
    pub(crate) fn fill_parts(&self, spare: &Spare<'_, S>, large: F::Entry) {
        let (words, level) = (self.store.words(spare.table()), spare.level());
        let parts = F::GEOMETRY.entries(level);
        for index in 0..parts {
            let part = large.part(level, index, F::GEOMETRY.entry_pages(level));
            words.store_plain::<F>(index, part);
        }
        let live = if large.is_empty() { 0 } else { parts as u32 };
        self.store
            .header(spare.table())
            .live()
            .store(live, Ordering::Relaxed);
    }
}
