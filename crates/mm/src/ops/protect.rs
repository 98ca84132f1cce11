//! `mprotect`.

use foliant_uapi::Prot;
use foliant_units::{Errno, VirtAddr, VirtRange, Vpn, VpnRange};

use super::map::rights;
use super::page_align;
use crate::flags::VmFlags;
use crate::map::Change;
use crate::vma::{Backing, Vma};
use crate::work::PageWork;

use alloc::sync::Arc;

/// A call that pauses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProtectRest {
    /// To be populated now; failures are ignored.
    pub populate: VpnRange,
    remaining: VpnRange,
    prot: Prot,
}

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Changes rights, one VMA after the other until one refuses or is
    /// missing. A locked mapping that could not be written before must be
    /// populated before its neighbours are looked at: then the call pauses.
    ///
    /// # Errors
    /// As `mprotect(2)`; VMAs before the cause have changed.
    ///
    /// # Linux source concept
    /// `do_mprotect_pkey()`.
    pub fn mprotect(&mut self, start: VirtAddr, len: u64, prot: Prot) -> Result<Option<ProtectRest>, Errno> {
        let grows = prot & (Prot::GROWSDOWN | Prot::GROWSUP);
        let prot = prot - grows;
        if grows == Prot::GROWSDOWN | Prot::GROWSUP || !start.is_aligned() {
            return Err(Errno::INVAL);
        }
        if len == 0 {
            return Ok(None);
        }
        let range = VirtRange::sized(start, page_align(len)).filter(|range| !range.is_empty());
        let range = range.ok_or(Errno::NOMEM)?.pages();
        let valid = Prot::READ | Prot::WRITE | Prot::EXEC | Prot::SEM;
        if !valid.contains(prot) {
            return Err(Errno::INVAL);
        }
        let range = self.extended(range, grows)?;
        self.protect_range(range, prot)
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// As [`mprotect`](Self::mprotect).
    pub fn mprotect_rest(&mut self, rest: ProtectRest) -> Result<Option<ProtectRest>, Errno> {
        self.protect_range(rest.remaining, rest.prot)
    }

    fn protect_range(&mut self, range: VpnRange, prot: Prot) -> Result<Option<ProtectRest>, Errno> {
        let mut at = range.start;
        while at < range.end {
            let vma = self.tree.get(at).cloned().ok_or(Errno::NOMEM)?;
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            let implied = self.book.layout.read_implies_exec
                && prot.contains(Prot::READ)
                && vma.flags.contains(VmFlags::MAYEXEC);
            let rights = rights(if implied { prot | Prot::EXEC } else { prot });
            at = part.end;
            if self.protect_part(&vma, part, rights)? {
                return Ok(Some(ProtectRest {
                    populate: part,
                    remaining: VpnRange::new(at, range.end),
                    prot,
                }));
            }
        }
        Ok(None)
    }

    /// The range that is meant, with `PROT_GROWSDOWN` from the start of the stack.
    fn extended(&self, range: VpnRange, grows: Prot) -> Result<VpnRange, Errno> {
        let first = self.tree.at_or_above(range.start).ok_or(Errno::NOMEM)?;
        if grows == Prot::GROWSDOWN {
            if first.range.start >= range.end {
                return Err(Errno::NOMEM);
            }
            if !first.flags.contains(VmFlags::GROWSDOWN) {
                return Err(Errno::INVAL);
            }
            return Ok(VpnRange::new(first.range.start, range.end));
        }
        if first.range.start > range.start {
            return Err(Errno::NOMEM);
        }
        // No VMA grows up on this architecture.
        if grows == Prot::GROWSUP {
            Err(Errno::INVAL)
        } else {
            Ok(range)
        }
    }

    /// Whether the part is locked and must be populated for writing.
    ///
    /// # Linux source concept
    /// `mprotect_fixup()`.
    fn protect_part(&mut self, vma: &Arc<Vma<B>>, part: VpnRange, rights: VmFlags) -> Result<bool, Errno> {
        let old = vma.flags;
        let mut new = (old - VmFlags::ACCESS) | rights;
        if !allowed(old).contains(rights) {
            return Err(Errno::ACCES);
        }
        if old.contains(VmFlags::SEALED) {
            return Err(Errno::PERM);
        }
        if new == old {
            return Ok(false);
        }
        let uncounted =
            VmFlags::ACCOUNT | VmFlags::WRITE | VmFlags::HUGETLB | VmFlags::SHARED | VmFlags::NORESERVE;
        if new.contains(VmFlags::WRITE) {
            // Only the class of the pages can change, so the limit on data decides.
            if !self.book.may_expand(new, part.len()) && self.book.may_expand(old, part.len()) {
                return Err(Errno::NOMEM);
            }
            if !old.intersects(uncounted) {
                if !self.work.may_commit(part.len()) {
                    return Err(Errno::NOMEM);
                }
                new |= VmFlags::ACCOUNT;
            }
        } else if old.contains(VmFlags::ACCOUNT) && vma.is_anonymous() && vma.family().is_none() {
            // Never written: nothing of it needs the promise any more.
            new -= VmFlags::ACCOUNT;
        }
        let now = self.modify(vma, part, new, vma.name.clone())?;
        self.work.protect(&now, part);
        self.book.usage.sub(old, part.len());
        self.book.usage.add(new, part.len());
        let lockable = VmFlags::WRITE | VmFlags::SHARED | VmFlags::LOCKED;
        let became_writable = old & lockable == VmFlags::LOCKED && new.contains(VmFlags::WRITE);
        Ok(became_writable)
    }

    /// Whether every page of the range has a VMA.
    pub(super) fn is_covered(&self, range: VpnRange) -> bool {
        let mut at: Vpn = range.start;
        for vma in self.tree.overlapping(range) {
            if vma.range.start > at {
                return false;
            }
            at = vma.range.end;
        }
        at >= range.end
    }
}

/// The rights that a VMA may be given.
fn allowed(flags: VmFlags) -> VmFlags {
    VmFlags::from_bits_retain(flags.bits() >> 4) & VmFlags::ACCESS
}
