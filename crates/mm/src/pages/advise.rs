//! What `madvise` does to pages, one mapping at a time.

use core::ops::ControlFlow;

use foliant_arch::x86_64::PteFlags;
use foliant_paging::{Gather, Missing};
use foliant_phys::{AllocError, FrameFlags};
use foliant_platform::Mmu;
use foliant_units::VpnRange;

use super::slot;
use super::zap::{Removal, zap};
use crate::counters::Resident;
use crate::space::Space;
use crate::vma::Vma;

/// Lets the private frames of `range` be dropped until they are written again
/// (`MADV_FREE`).
///
/// # Linux source concept
/// `madvise_free_pte_range()`, `folio_mark_lazyfree()`.
pub(crate) fn free_lazily<'s, P: Mmu>(space: &'s Space<P>, range: VpnRange, gather: &mut Gather<'s, P>) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            let Some((frame, Resident::Anon)) = slot::counted(space.env(), leaf.get(page)) else {
                continue;
            };
            let (old, new) = leaf.update(page, |entry| entry.without(PteFlags::ACCESSED | PteFlags::DIRTY));
            if old != new && old.is_present() {
                // A processor that remembers it would not set the bit again.
                gather.removed(VpnRange::new(page, page + 1));
            }
            space
                .env()
                .phys()
                .record(frame)
                .clear(FrameFlags::SWAPBACKED | FrameFlags::DIRTY);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Forgets that `range` was used (`MADV_COLD`, and `MADV_PAGEOUT` as far as
/// there is nowhere to page out to).
///
/// # Linux source concept
/// `madvise_cold_or_pageout_pte_range()`.
pub(crate) fn cool<'s, P: Mmu>(space: &'s Space<P>, range: VpnRange, gather: &mut Gather<'s, P>) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            let Some((frame, _)) = slot::counted(space.env(), leaf.get(page)) else {
                continue;
            };
            let (old, new) = leaf.update(page, |entry| entry.without(PteFlags::ACCESSED));
            if old != new && old.is_present() {
                // A processor that remembers it would not set the bit again.
                gather.removed(VpnRange::new(page, page + 1));
            }
            let record = space.env().phys().record(frame);
            record.clear(FrameFlags::REFERENCED | FrameFlags::ACTIVE);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Forgets that `range` was used, and by whom else the frames were
/// (`/proc/PID/clear_refs`); where they stand among others stays.
///
/// # Linux source concept
/// `clear_refs_pte_range()`.
pub(crate) fn forget_references<'s, P: Mmu>(
    space: &'s Space<P>,
    range: VpnRange,
    gather: &mut Gather<'s, P>,
) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            let Some((frame, _)) = slot::counted(space.env(), leaf.get(page)) else {
                continue;
            };
            let (old, new) = leaf.update(page, |entry| entry.without(PteFlags::ACCESSED));
            if old != new && old.is_present() {
                // A processor that remembers it would not set the bit again.
                gather.removed(VpnRange::new(page, page + 1));
            }
            space.env().phys().record(frame).clear(FrameFlags::REFERENCED);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Makes every page of `range` a guard page; what was there is dropped.
///
/// # Errors
/// No memory for tables; guards installed before stay.
///
/// # Linux source concept
/// `madvise_guard_install()`.
pub(crate) fn install_guards<'s, P: Mmu>(
    space: &'s Space<P>,
    vma: &Vma<P>,
    range: VpnRange,
    gather: &mut Gather<'s, P>,
) -> Result<(), AllocError> {
    let mut left = range;
    while !left.is_empty() {
        let walk = space
            .tables()
            .for_each_leaf(left, Missing::Allocate, |leaf, part| {
                for page in part.iter() {
                    let entry = leaf.get(page);
                    if entry.is_empty() {
                        leaf.set(page, slot::guard());
                    } else if !slot::is_guard(entry) {
                        return ControlFlow::Break(page);
                    }
                }
                ControlFlow::Continue(())
            })?;
        let ControlFlow::Break(occupied) = walk else { break };
        left = VpnRange::new(occupied, range.end);
        // A program that faults the pages back in as fast as they go keeps
        // this busy, and nobody else.
        zap(space, vma, left, Removal::Unmap, gather);
    }
    Ok(())
}

/// Takes the guard markers of `range` away.
///
/// # Linux source concept
/// `madvise_guard_remove()`.
pub(crate) fn remove_guards<P: Mmu>(space: &Space<P>, range: VpnRange) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            if slot::is_guard(leaf.get(page)) {
                leaf.take(page);
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Marks the frames of `range` locked into memory, or not.
///
/// # Linux source concept
/// `mlock_pte_range()`.
pub(crate) fn mark_locked<P: Mmu>(space: &Space<P>, range: VpnRange, locked: bool) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            if let Some((frame, _)) = slot::counted(space.env(), leaf.get(page)) {
                space
                    .env()
                    .phys()
                    .record(frame)
                    .assign(FrameFlags::MLOCKED, locked);
            }
        }
        ControlFlow::<()>::Continue(())
    });
}
