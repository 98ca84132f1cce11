//! `mincore`: which VMAs to ask.

use alloc::sync::Arc;

use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VpnRange};

use crate::map::AddressMap;
use crate::vma::{Backing, Vma};

impl<B: Backing> AddressMap<B> {
    /// Calls `ask` for each VMA of the range in order; it fills the vector.
    ///
    /// # Errors
    /// `INVAL` for an unaligned start, `NOMEM` for a range outside of the
    /// space or at a hole, which ends the walk.
    ///
    /// # Linux source concept
    /// `sys_mincore()`.
    pub fn mincore(
        &self,
        start: VirtAddr,
        len: u64,
        mut ask: impl FnMut(&Arc<Vma<B>>, VpnRange) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !start.is_aligned() {
            return Err(Errno::INVAL);
        }
        let space_end = self.book().layout.end;
        let end = start.checked_add(len).filter(|end| *end <= space_end);
        let end = end
            .ok_or(Errno::NOMEM)?
            .align_up(PAGE_SIZE as u64)
            .ok_or(Errno::NOMEM)?;
        let range = VpnRange::new(start.page(), end.page());
        let tree = self.snapshot();
        let mut at = range.start;
        while at < range.end {
            let vma = tree.get(at).ok_or(Errno::NOMEM)?;
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            ask(vma, part)?;
            at = part.end;
        }
        Ok(())
    }
}
