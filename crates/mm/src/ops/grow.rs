//! Stacks that grow when they are touched.

use alloc::sync::Arc;

use foliant_units::{Errno, PAGE_SHIFT, VirtAddr, Vpn, VpnRange};

use crate::flags::VmFlags;
use crate::layout::STACK_GUARD;
use crate::map::Change;
use crate::vma::{Backing, Vma};
use crate::work::PageWork;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// The VMA that contains `page`, after growing the stack above down to it
    /// if there is one.
    ///
    /// # Errors
    /// `FAULT` if there is neither a VMA nor a stack above, `NOMEM` if a limit
    /// or a neighbour is in the way, `PERM` below the lowest address.
    ///
    /// # Linux source concept
    /// `expand_downwards()`, `acct_stack_growth()`.
    pub fn grow_stack(&mut self, page: Vpn) -> Result<Arc<Vma<B>>, Errno> {
        let vma = self.tree.at_or_above(page).cloned().ok_or(Errno::FAULT)?;
        if vma.range.contains(page) {
            return Ok(vma);
        }
        if !vma.flags.contains(VmFlags::GROWSDOWN) {
            return Err(Errno::FAULT);
        }
        if page.base() < VirtAddr::new(self.book.limits.lowest) {
            return Err(Errno::PERM);
        }
        if let Some(below) = self.tree.below(page) {
            let crowds = below.flags.intersects(VmFlags::ACCESS) && !below.flags.contains(VmFlags::GROWSDOWN);
            if crowds && (page - below.range.end) << PAGE_SHIFT < STACK_GUARD {
                return Err(Errno::NOMEM);
            }
        }
        // Even a read that grows the stack founds its family, as in Linux.
        self.work.prepare(&self.tree, &vma);
        let grown = VpnRange::new(page, vma.range.start);
        let size = (vma.range.end - page) << PAGE_SHIFT;
        let refused = vma.pgoff < grown.len()
            || !self.book.may_expand(vma.flags, grown.len())
            || size > self.book.limits.stack
            || !self.book.may_lock_more(vma.flags, grown.len())
            || !self.work.may_commit(grown.len());
        if refused {
            return Err(Errno::NOMEM);
        }
        self.freeze(&vma);
        let mut taller = vma.successor();
        taller.range.start = page;
        taller.pgoff = vma.pgoff - grown.len();
        let taller = self.swap(&vma, taller);
        self.book.usage.add(vma.flags, grown.len());
        if vma.flags.contains(VmFlags::LOCKED) {
            self.book.usage.locked += grown.len();
        }
        Ok(taller)
    }
}
