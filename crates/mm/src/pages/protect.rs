//! Giving present pages the rights of their mapping.

use core::ops::ControlFlow;

use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_paging::{Gather, Missing};
use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_units::VpnRange;

use super::slot;
use crate::counters::Resident;
use crate::flags::VmFlags;
use crate::space::Space;
use crate::vma::Vma;

/// What an entry keeps when its rights change.
const KEPT: PteFlags = PteFlags::ACCESSED
    .union(PteFlags::DIRTY)
    .union(PteFlags::SAVED_DIRTY)
    .union(PteFlags::SPECIAL)
    .union(PteFlags::SOFT_DIRTY)
    .union(PteFlags::UFFD_WP)
    .union(PteFlags::WRITE_THROUGH)
    .union(PteFlags::CACHE_DISABLE)
    .union(PteFlags::PAT);

/// Gives the entries of `range` the rights of `vma`, which has its new flags
/// already.
///
/// # Locking
/// The VMA is frozen.
///
/// # Linux source concept
/// `change_pte_range()` with `MM_CP_TRY_CHANGE_WRITABLE`.
pub(crate) fn protect<'s, P: Mmu>(
    space: &'s Space<P>,
    vma: &Vma<P>,
    range: VpnRange,
    gather: &mut Gather<'s, P>,
) {
    let rights = slot::fresh_flags(vma).difference(PteFlags::ACCESSED);
    let key = slot::protection_key(vma);
    // Skipping allocates nothing, so the walk cannot fail.
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            if !leaf.get(page).has_frame() {
                continue;
            }
            let (old, new) = leaf.update(page, |entry| {
                let kept = entry.flags() & KEPT;
                let entry = entry.with_flags(kept | rights).with_key(key);
                if may_write_at_once(space, vma, entry) {
                    entry.with(PteFlags::WRITE)
                } else {
                    entry
                }
            });
            if loses_rights(old, new) {
                gather.demoted(VpnRange::new(page, page + 1));
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Whether a write-protected entry of a mapping that is writable now needs no
/// fault to become so: a private frame that nobody else has, or one of a file
/// that is dirty anyway.
///
/// # Linux source concept
/// `can_change_pte_writable()`.
fn may_write_at_once<P: Mmu>(space: &Space<P>, vma: &Vma<P>, entry: Pte) -> bool {
    if !vma.flags.contains(VmFlags::WRITE) || entry.is_writable() || !entry.is_present() {
        return false;
    }
    match slot::counted(space.env(), entry) {
        None => false,
        Some(_) if vma.is_shared() => entry.is_dirty(),
        Some((frame, Resident::Anon)) => space.env().phys().record(frame).has(FrameFlags::ANON_EXCLUSIVE),
        Some((_, Resident::File | Resident::Shmem)) => false,
    }
}

/// Whether a cached translation of `old` allows what `new` does not.
fn loses_rights(old: Pte, new: Pte) -> bool {
    old.is_present()
        && (!new.is_present()
            || (old.is_writable() && !new.is_writable())
            || (old.is_executable() && !new.is_executable())
            || old.key() != new.key())
}

/// Makes the object's frames in `range` of a shared `vma` clean and read-only,
/// so that the next store is noticed.
///
/// # Linux source concept
/// `page_mkclean_one()`.
pub(crate) fn clean<'s, P: Mmu>(space: &'s Space<P>, range: VpnRange, gather: &mut Gather<'s, P>) {
    let _ = space.tables().for_each_leaf(range, Missing::Skip, |leaf, part| {
        for page in part.iter() {
            if !leaf.get(page).has_frame() {
                continue;
            }
            let (old, new) = leaf.update(page, |entry| entry.without(PteFlags::WRITE | PteFlags::DIRTY));
            if old != new && old.is_present() {
                gather.demoted(VpnRange::new(page, page + 1));
            }
        }
        ControlFlow::<()>::Continue(())
    });
}
