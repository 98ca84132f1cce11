//! `mremap`.

use alloc::sync::Arc;

use foliant_uapi::MremapFlags;
use foliant_units::{Errno, PAGE_SHIFT, VirtAddr, Vpn, VpnRange};

use super::map::FilePlacement;
use super::page_align;
use super::place::{Alignment, Wanted};
use crate::flags::VmFlags;
use crate::map::Change;
use crate::merge::Draft;
use crate::vma::{Backing, Vma};
use crate::work::PageWork;

/// The arguments of `mremap`.
///
/// # Units
/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveRequest {
    /// Where the pages are.
    pub addr: VirtAddr,
    /// How many there are; zero duplicates a shared mapping.
    pub old_len: u64,
    /// How many there are to be.
    pub new_len: u64,
    /// All bits of the argument.
    pub flags: MremapFlags,
    /// Where they are to go.
    pub new_addr: VirtAddr,
}

/// What `mremap` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Where the pages are now.
    pub addr: VirtAddr,
    /// To be populated, because a locked mapping grew.
    pub populate: Option<VpnRange>,
}

/// One VMA's part of a request, with lengths in whole pages.
#[derive(Clone, Copy)]
struct Step {
    from: VpnRange,
    /// Pages at the new place.
    pages: u64,
    to: VirtAddr,
    flags: MremapFlags,
}

impl Step {
    const fn names_target(self) -> bool {
        self.flags
            .intersects(MremapFlags::FIXED.union(MremapFlags::DONTUNMAP))
    }

    const fn grows(self) -> bool {
        self.pages > self.from.len()
    }

    const fn keeps_source(self) -> bool {
        self.flags.contains(MremapFlags::DONTUNMAP)
    }
}

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Moves and resizes.
    ///
    /// # Errors
    /// As `mremap(2)`, in Linux's order. A move of several VMAs that fails
    /// leaves those before it at the new place.
    ///
    /// # Linux source concept
    /// `do_mremap()`.
    pub fn mremap(&mut self, request: MoveRequest) -> Result<Moved, Errno> {
        let step = self.check_request(request)?;
        if step.flags.contains(MremapFlags::FIXED) && step.pages == step.from.len() {
            let addr = self.move_each(step)?;
            return Ok(Moved { addr, populate: None });
        }
        let vma = self.tree.get(step.from.start).cloned().ok_or(Errno::FAULT)?;
        self.check_vma(&vma, step)?;
        let addr = if step.names_target() {
            self.move_to(&vma, step)?
        } else {
            self.resize(&vma, step)?
        };
        let populate = (step.grows() && vma.flags.contains(VmFlags::LOCKED)).then(|| {
            let grown = addr.page() + step.from.len();
            VpnRange::new(grown, addr.page() + step.pages)
        });
        Ok(Moved { addr, populate })
    }

    /// # Linux source concept
    /// `check_mremap_params()`.
    fn check_request(&self, request: MoveRequest) -> Result<Step, Errno> {
        let end = self.book.layout.end.raw();
        let flags = request.flags;
        let (old, new) = (page_align(request.old_len), page_align(request.new_len));
        if MremapFlags::from_bits(flags.bits()).is_none() || !request.addr.is_aligned() || new == 0 {
            return Err(Errno::INVAL);
        }
        if new > end {
            return Err(Errno::INVAL);
        }
        let from = VpnRange::new(
            request.addr.page(),
            Vpn::new(request.addr.page().raw() + (old >> PAGE_SHIFT)),
        );
        let step = Step {
            from,
            pages: new >> PAGE_SHIFT,
            to: if flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP) {
                request.new_addr
            } else {
                VirtAddr::ZERO
            },
            flags,
        };
        if !step.names_target() {
            return Ok(step);
        }
        if request.new_addr.raw() > end - new || !request.new_addr.is_aligned() {
            return Err(Errno::INVAL);
        }
        if !flags.contains(MremapFlags::MAYMOVE) || (step.keeps_source() && old != new) {
            return Err(Errno::INVAL);
        }
        // An old length that wraps ends somewhere below, where Linux then looks.
        let old_end = request.addr.raw().wrapping_add(old);
        if old_end > request.new_addr.raw() && request.new_addr.raw() + new > request.addr.raw() {
            return Err(Errno::INVAL);
        }
        // A move may need a few VMAs in passing, and must not fail half-way.
        if self.tree.len() + 2 >= self.book.limits.vmas.saturating_sub(3) {
            return Err(Errno::NOMEM);
        }
        Ok(step)
    }

    /// # Linux source concept
    /// `check_prep_vma()`.
    fn check_vma(&self, vma: &Vma<B>, step: Step) -> Result<(), Errno> {
        if vma.flags.contains(VmFlags::SEALED) {
            return Err(Errno::PERM);
        }
        if !step.grows() && !step.names_target() {
            return Ok(());
        }
        if step.from.is_empty() && !vma.flags.intersects(VmFlags::SHARED | VmFlags::MAYSHARE) {
            return Err(Errno::INVAL);
        }
        let rigid = vma.flags.intersects(VmFlags::DONTEXPAND | VmFlags::PFNMAP);
        if step.keeps_source() && rigid {
            return Err(Errno::INVAL);
        }
        // What a shrink cuts off may lie in other VMAs.
        let kept = step.from.len().min(step.pages);
        if kept > vma.range.end - step.from.start {
            return Err(Errno::FAULT);
        }
        if step.pages == step.from.len() {
            return Ok(());
        }
        if vma
            .pgoff_at(step.from.start)
            .checked_add(step.pages)
            .is_none_or(|end| end > u64::MAX >> PAGE_SHIFT)
        {
            return Err(Errno::INVAL);
        }
        if rigid {
            return Err(Errno::FAULT);
        }
        let more = step.pages.saturating_sub(step.from.len());
        if !self.book.may_lock_more(vma.flags, more) {
            return Err(Errno::AGAIN);
        }
        if !self.book.may_expand(vma.flags, more) {
            return Err(Errno::NOMEM);
        }
        Ok(())
    }

    /// Moves every VMA of a range by the same distance; holes stay what they
    /// were at the target.
    ///
    /// # Linux source concept
    /// `remap_move()`.
    fn move_each(&mut self, step: Step) -> Result<VirtAddr, Errno> {
        let mut first = None;
        let mut at = step.from.start;
        while at < step.from.end {
            let Some(vma) = self.tree.at_or_above(at).cloned() else {
                break;
            };
            if vma.range.start >= step.from.end {
                break;
            }
            let part = vma.range.intersect(VpnRange::new(at, step.from.end));
            if first.is_none() && part.start > step.from.start {
                return Err(Errno::FAULT);
            }
            let one = Step {
                from: part,
                pages: part.len(),
                to: step.to + ((part.start - step.from.start) << PAGE_SHIFT),
                flags: step.flags,
            };
            self.check_vma(&vma, one)?;
            let moved = self.move_to(&vma, one)?;
            first.get_or_insert(moved);
            at = part.end;
        }
        first.ok_or(Errno::FAULT)
    }

    /// To a place that the caller named, or anywhere, leaving an empty copy.
    ///
    /// # Linux source concept
    /// `mremap_to()`.
    fn move_to(&mut self, vma: &Arc<Vma<B>>, mut step: Step) -> Result<VirtAddr, Errno> {
        let mut vma = vma.clone();
        if step.flags.contains(MremapFlags::FIXED) {
            let target = VpnRange::new(step.to.page(), step.to.page() + step.pages);
            self.unmap(target)?;
            // The target may have been a part of the same VMA.
            vma = self.tree.get(step.from.start).cloned().ok_or(Errno::FAULT)?;
        }
        if step.pages < step.from.len() {
            let kept = step.from.start + step.pages;
            self.munmap(kept.base(), (step.from.end - kept) << PAGE_SHIFT)?;
            step.from.end = kept;
            vma = self.tree.get(step.from.start).cloned().ok_or(Errno::FAULT)?;
        }
        if step.keeps_source() && !self.book.may_expand(vma.flags, step.from.len()) {
            return Err(Errno::NOMEM);
        }
        let to = self.find_target(&vma, step)?;
        self.relocate(&vma, step, to)
    }

    /// In place if that can be, or else anywhere.
    ///
    /// # Linux source concept
    /// `mremap_at()`.
    fn resize(&mut self, vma: &Arc<Vma<B>>, step: Step) -> Result<VirtAddr, Errno> {
        let here = step.from.start.base();
        if !step.grows() {
            if step.pages < step.from.len() {
                let kept = step.from.start + step.pages;
                self.munmap(kept.base(), (step.from.end - kept) << PAGE_SHIFT)?;
            }
            return Ok(here);
        }
        let more = VpnRange::new(step.from.end, step.from.start + step.pages);
        let fits = vma.range.end == step.from.end
            && !step.from.is_empty()
            && more.bytes().end <= self.book.layout.end
            && self.is_reserved(more.bytes().start, more.bytes().len()).is_none()
            && !self.tree.overlaps(more);
        if fits {
            return self.extend(vma, more).map(|()| here);
        }
        if !step.flags.contains(MremapFlags::MAYMOVE) {
            return Err(Errno::NOMEM);
        }
        let to = self.find_target(vma, step)?;
        self.relocate(vma, step, to)
    }

    /// # Linux source concept
    /// `expand_vma_in_place()`.
    fn extend(&mut self, vma: &Arc<Vma<B>>, more: VpnRange) -> Result<(), Errno> {
        if vma.flags.contains(VmFlags::ACCOUNT) && !self.work.may_commit(more.len()) {
            return Err(Errno::NOMEM);
        }
        self.freeze(vma);
        let draft = Draft::part_of(vma, more, vma.flags, vma.name.clone());
        self.extend_by(vma, draft);
        self.count_new(vma.flags, more.len());
        Ok(())
    }

    /// Where the pages go.
    fn find_target(&self, vma: &Vma<B>, step: Step) -> Result<VirtAddr, Errno> {
        let shared = vma.flags.contains(VmFlags::MAYSHARE);
        self.find_room(Wanted {
            at: step.to,
            len: step.pages << PAGE_SHIFT,
            offset: vma.pgoff_at(step.from.start) << PAGE_SHIFT,
            fixed: step.flags.contains(MremapFlags::FIXED),
            low: false,
            above_4g: false,
            alignment: match vma.is_anonymous() {
                true if shared => Alignment::Shmem,
                true => Alignment::Anonymous,
                false => Alignment::File(FilePlacement::Ordinary),
            },
        })
    }

    /// Makes the VMA at the new place, moves the pages, and takes the old one
    /// away or empties it.
    ///
    /// # Linux source concept
    /// `move_vma()`.
    fn relocate(&mut self, vma: &Arc<Vma<B>>, step: Step, to: VirtAddr) -> Result<VirtAddr, Errno> {
        if self.tree.len() >= self.book.limits.vmas.saturating_sub(3) {
            return Err(Errno::NOMEM);
        }
        let charged = if step.keeps_source() {
            step.pages
        } else {
            step.pages.saturating_sub(step.from.len())
        };
        if vma.flags.contains(VmFlags::ACCOUNT) && !self.work.may_commit(charged) {
            return Err(Errno::NOMEM);
        }
        self.freeze(vma);
        let target = VpnRange::new(to.page(), to.page() + step.pages);
        let mut draft = Draft::part_of(
            vma,
            VpnRange::new(step.from.start, step.from.start),
            vma.flags,
            vma.name.clone(),
        );
        draft.range = target;
        if vma.is_anonymous() && draft.family.is_none() {
            // Never touched: as if it had always been at the new place.
            draft.pgoff = target.start.raw();
        }
        let old = vma.successor();
        let copy = self.place(draft)?;
        if let Err(error) = self.work.relocate(&old, step.from, &copy, target.start) {
            self.book.usage.add(vma.flags, target.len());
            self.count_lock(vma.flags, target.len());
            self.unmap(target)?;
            return Err(error);
        }
        self.count_new(vma.flags, target.len());
        if step.keeps_source() {
            self.leave_empty(step.from);
        } else if !step.from.is_empty() {
            // At the limit of VMAs the old place stays, as in Linux.
            let _ = self.unmap(step.from);
        }
        Ok(to)
    }

    /// The old place of `MREMAP_DONTUNMAP`: no longer locked, and without a
    /// family if all of it moved. Linux does not take it off the locked pages.
    fn leave_empty(&mut self, source: VpnRange) {
        let Some(old) = self.tree.get(source.start).cloned() else {
            return;
        };
        let mut emptied = old.successor();
        emptied.flags -= VmFlags::LOCKED_MASK;
        if old.range == source {
            emptied.set_family(None);
        }
        self.swap(&old, emptied);
    }

    fn count_new(&mut self, flags: VmFlags, pages: u64) {
        self.book.usage.add(flags, pages);
        self.count_lock(flags, pages);
    }

    fn count_lock(&mut self, flags: VmFlags, pages: u64) {
        if flags.contains(VmFlags::LOCKED) {
            self.book.usage.locked += pages;
        }
    }
}
