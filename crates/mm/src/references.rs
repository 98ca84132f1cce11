//! Forgetting which pages were used.

use foliant_paging::Gather;
use foliant_platform::Mmu;

use crate::pages;
use crate::space::Space;

/// Which mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mappings {
    /// All of them.
    All,
    /// Those of no file.
    Anonymous,
    /// Those of files.
    Files,
}

impl<P: Mmu> Space<P> {
    /// Clears the accessed bits of mapped pages, so that `Referenced` of
    /// `smaps` starts anew (a write of 1, 2 or 3 to `/proc/PID/clear_refs`).
    ///
    /// # Locking
    /// None is needed; each leaf table is changed at one moment.
    ///
    /// # Linux source concept
    /// `clear_refs_pte_range()`.
    pub fn forget_references(&self, of: Mappings) {
        let mut gather = Gather::new(self.tables());
        for vma in self.vmas().iter() {
            let wanted = match of {
                Mappings::All => true,
                Mappings::Anonymous => vma.is_anonymous(),
                Mappings::Files => !vma.is_anonymous(),
            };
            if wanted {
                pages::forget_references(self, vma.range, &mut gather);
            }
        }
        gather.finish();
    }

    /// Lets the peak of resident memory start anew at what is resident now (a
    /// write of 5 to `/proc/PID/clear_refs`).
    pub fn forget_peak(&self) {
        self.counters().forget_peak();
    }
}
