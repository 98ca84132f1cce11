//! `munmap`.

use foliant_units::{Errno, VirtAddr, VirtRange};

use super::page_align;
use crate::map::Change;
use crate::vma::Backing;
use crate::work::PageWork;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Unmaps whatever is in the range; nothing is fine too.
    ///
    /// # Errors
    /// `INVAL` for an unaligned start, no length, or a range outside of the
    /// space; `PERM` over a sealed VMA and `NOMEM` at the limit of VMAs, with
    /// nothing unmapped.
    ///
    /// # Linux source concept
    /// `do_vmi_munmap()`.
    pub fn munmap(&mut self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        let end = self.book.layout.end.raw();
        if !start.is_aligned() || start.raw() > end || len > end - start.raw() {
            return Err(Errno::INVAL);
        }
        let range = VirtRange::sized(start, page_align(len)).ok_or(Errno::INVAL)?;
        if range.is_empty() {
            return Err(Errno::INVAL);
        }
        if self.tree.overlaps(range.pages()) {
            self.unmap(range.pages())?;
        }
        Ok(())
    }
}
