//! `mseal`.

use foliant_units::{Errno, VirtAddr, VpnRange};

use super::pages_of;
use crate::flags::VmFlags;
use crate::map::Change;
use crate::vma::Backing;
use crate::work::PageWork;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Seals all of a range, or nothing.
    ///
    /// # Errors
    /// `INVAL` for a bad range, `NOMEM` over a hole or at the limit of VMAs.
    ///
    /// # Linux source concept
    /// `do_mseal()`.
    pub fn mseal(&mut self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        let Some(range) = pages_of(start, len)? else {
            return Ok(());
        };
        if !self.is_covered(range) {
            return Err(Errno::NOMEM);
        }
        let mut at = range.start;
        while at < range.end {
            let vma = self.tree.get(at).cloned().ok_or(Errno::NOMEM)?;
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            if !vma.flags.contains(VmFlags::SEALED) {
                self.modify(&vma, part, vma.flags | VmFlags::SEALED, vma.name.clone())?;
            }
            at = part.end;
        }
        Ok(())
    }
}
