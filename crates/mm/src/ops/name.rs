//! Names of anonymous memory.

use alloc::sync::Arc;

use foliant_units::{Errno, VirtAddr, VpnRange};

use super::pages_of;
use crate::map::Change;
use crate::vma::Backing;
use crate::work::PageWork;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME)`; `None` takes the name away.
    /// Holes are passed over.
    ///
    /// # Errors
    /// `INVAL` for a bad range, `BADF` at a file mapping, `NOMEM` if there was
    /// a hole; VMAs before the cause, and behind a hole, have the name.
    ///
    /// # Linux source concept
    /// `madvise_set_anon_name()`.
    pub fn name(&mut self, start: VirtAddr, len: u64, name: Option<&Arc<str>>) -> Result<(), Errno> {
        let Some(range) = pages_of(start, len)? else {
            return Ok(());
        };
        let mut outcome = Ok(());
        let mut at = range.start;
        while at < range.end {
            let vma = self.tree.at_or_above(at).cloned().ok_or(Errno::NOMEM)?;
            if vma.range.start > at {
                outcome = Err(Errno::NOMEM);
            }
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            at = vma.range.end;
            if part.is_empty() {
                continue;
            }
            if !vma.is_anonymous() {
                return Err(Errno::BADF);
            }
            if vma.name.as_ref() != name {
                self.modify(&vma, part, vma.flags, name.cloned())
                    .map_err(|_| Errno::AGAIN)?;
            }
        }
        outcome
    }
}
