//! `mlock` and its family.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::{MlockAllFlags, MlockFlags};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange, VpnRange};

use super::map::UNLOCKABLE;
use super::page_align;
use crate::flags::VmFlags;
use crate::map::Change;
use crate::vma::{Backing, Vma};
use crate::work::PageWork;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// `mlock` and `mlock2`. The range to populate afterwards, whose failure
    /// is the call's (`FAULT` as `NOMEM`, `NOMEM` as `AGAIN`).
    ///
    /// # Errors
    /// `PERM` if nothing may be locked, `NOMEM` over the limit or at a hole;
    /// VMAs before the hole are locked then, but not populated.
    ///
    /// # Linux source concept
    /// `do_mlock()`.
    pub fn mlock(&mut self, start: VirtAddr, len: u64, how: MlockFlags) -> Result<Option<VpnRange>, Errno> {
        let lock = if how.contains(MlockFlags::ONFAULT) {
            VmFlags::LOCKED_MASK
        } else {
            VmFlags::LOCKED
        };
        if !self.book.may_lock_any() {
            return Err(Errno::PERM);
        }
        let (start, len) = outer_pages(start, len);
        // Locking what is locked already is free.
        let pages = len / PAGE_SIZE as u64;
        let mut total = pages.saturating_add(self.book.usage.locked);
        if !self.book.may_lock(total)
            && let Some(range) = VirtRange::sized(start, len)
        {
            total -= self.locked_in(range.pages()).min(total);
        }
        if !self.book.may_lock(total) {
            return Err(Errno::NOMEM);
        }
        self.set_lock(start, len, lock)
    }

    /// `munlock`.
    ///
    /// # Errors
    /// `NOMEM` at a hole; VMAs before it are unlocked.
    pub fn munlock(&mut self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        let (start, len) = outer_pages(start, len);
        self.set_lock(start, len, VmFlags::empty()).map(|_| ())
    }

    /// `mlockall`. Whether everything is to be populated, ignoring failures.
    ///
    /// # Errors
    /// `INVAL` for bad flags, `PERM` if nothing may be locked, `NOMEM` over the limit.
    pub fn mlockall(&mut self, how: MlockAllFlags) -> Result<bool, Errno> {
        let only_onfault = how == MlockAllFlags::ONFAULT;
        if how.is_empty() || MlockAllFlags::from_bits(how.bits()).is_none() || only_onfault {
            return Err(Errno::INVAL);
        }
        if !self.book.may_lock_any() {
            return Err(Errno::PERM);
        }
        let now = how.contains(MlockAllFlags::CURRENT);
        if now && !self.book.may_lock(self.book.usage.total) {
            return Err(Errno::NOMEM);
        }
        let lock = if how.contains(MlockAllFlags::ONFAULT) {
            VmFlags::LOCKED_MASK
        } else {
            VmFlags::LOCKED
        };
        let future = how.contains(MlockAllFlags::FUTURE);
        self.book.future -= VmFlags::LOCKED_MASK;
        if future {
            self.book.future |= lock;
        }
        if now {
            self.lock_all(lock);
        }
        Ok(now)
    }

    /// `munlockall`.
    pub fn munlockall(&mut self) {
        self.book.future -= VmFlags::LOCKED_MASK;
        self.lock_all(VmFlags::empty());
    }

    fn lock_all(&mut self, lock: VmFlags) {
        let all: Vec<_> = self.tree.iter().map(|vma| vma.range).collect();
        for range in all {
            // The VMA may have been merged with the one before, and then has the flag.
            let Some(vma) = self.tree.get(range.start).cloned() else {
                continue;
            };
            // A VMA that cannot be split is whole here, so nothing can fail.
            let _ = self.lock_part(&vma, vma.range.intersect(range), lock);
        }
    }

    /// # Linux source concept
    /// `apply_vma_lock_flags()`.
    fn set_lock(&mut self, start: VirtAddr, len: u64, lock: VmFlags) -> Result<Option<VpnRange>, Errno> {
        let range = VirtRange::sized(start, len).ok_or(Errno::INVAL)?;
        if range.is_empty() {
            return Ok(None);
        }
        let range = range.pages();
        let mut at = range.start;
        while at < range.end {
            let vma = self.tree.get(at).cloned().ok_or(Errno::NOMEM)?;
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            self.lock_part(&vma, part, lock)?;
            at = part.end;
        }
        Ok(Some(range))
    }

    /// # Linux source concept
    /// `mlock_fixup()`.
    fn lock_part(&mut self, vma: &Arc<Vma<B>>, part: VpnRange, lock: VmFlags) -> Result<(), Errno> {
        let old = vma.flags;
        let new = (old - VmFlags::LOCKED_MASK) | lock;
        if new == old || old.intersects(UNLOCKABLE) {
            return Ok(());
        }
        let now = self.modify(vma, part, new, vma.name.clone())?;
        match (old.contains(VmFlags::LOCKED), new.contains(VmFlags::LOCKED)) {
            (false, true) => self.book.usage.locked += part.len(),
            (true, false) => self.book.usage.locked = self.book.usage.locked.saturating_sub(part.len()),
            // Only the way of locking changed: pages stay as they are.
            (true, true) | (false, false) => return Ok(()),
        }
        self.work.locked(&now, part);
        Ok(())
    }

    /// Pages of the range that are locked.
    fn locked_in(&self, range: VpnRange) -> u64 {
        self.tree
            .overlapping(range)
            .filter(|vma| vma.flags.contains(VmFlags::LOCKED))
            .map(|vma| vma.range.intersect(range).len())
            .sum()
    }
}

/// Whole pages around a range of bytes: start, and length, which wraps to
/// zero as Linux's does.
fn outer_pages(start: VirtAddr, len: u64) -> (VirtAddr, u64) {
    let len = page_align(len.wrapping_add(start.offset() as u64));
    (start.align_down(PAGE_SIZE as u64), len)
}
