//! Taking pages out of a mapping.

use core::ops::ControlFlow;

use foliant_arch::x86_64::Pte;
use foliant_paging::{Gather, Leaf, Missing};
use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_units::{Pfn, Vpn, VpnRange};

use super::slot;
use crate::VmFlags;
use crate::counters::{Resident, RssDelta};
use crate::space::Space;
use crate::vma::Vma;

/// Why pages go, which decides what may stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Removal {
    /// The mapping goes: nothing stays.
    Unmap,
    /// `MADV_DONTNEED`: guard markers stay, and whole tables go.
    Discard,
    /// The object ends before: guard markers stay.
    Truncate,
    /// The object shows something else: private copies and guard markers stay.
    Invalidate,
}

/// Drops what `range`, a part of `vma`, maps. References and translations are
/// `gather`'s to give up.
///
/// # Locking
/// The VMA is held for a fault, or frozen, or its space's writer lock is held.
///
/// # Linux source concept
/// `unmap_page_range()`, `zap_pte_range()`.
pub(crate) fn zap<'s, P: Mmu>(
    space: &'s Space<P>,
    vma: &Vma<P>,
    range: VpnRange,
    how: Removal,
    gather: &mut Gather<'s, P>,
) {
    space.counters().note_peak();
    // The tables that this empties are freed next.
    space.note_tables();
    let mut delta = RssDelta::default();
    let mut left = range;
    loop {
        let walk = space.tables().for_each_leaf(left, Missing::Skip, |leaf, part| {
            zap_leaf(space, vma, leaf, part, how, gather, &mut delta)
        });
        match walk {
            // The gather is full: pay with no lock held, and go on there.
            Ok(ControlFlow::Break(stopped)) => {
                gather.flush();
                left = VpnRange::new(stopped, left.end);
            }
            Ok(ControlFlow::Continue(())) => break,
            Err(_) => break, // Skipping allocates nothing.
        }
    }
    space.counters().apply(delta);
    if how == Removal::Discard {
        free_whole_tables(space, range, gather);
    }
}

/// Zaps part of one leaf table; breaks with the first page not done.
fn zap_leaf<P: Mmu>(
    space: &Space<P>,
    vma: &Vma<P>,
    leaf: &mut Leaf<'_, P>,
    part: VpnRange,
    how: Removal,
    gather: &mut Gather<'_, P>,
    delta: &mut RssDelta,
) -> ControlFlow<Vpn> {
    if leaf.live() == 0 {
        return ControlFlow::Continue(());
    }
    for page in part.iter() {
        let entry = leaf.get(page);
        if entry.is_empty() || stays(space, entry, how) {
            continue;
        }
        if !gather.has_room() {
            return ControlFlow::Break(page);
        }
        let old = leaf.take(page);
        // Who moves a frame may not have flushed yet.
        if old.is_present() || slot::moving(old).is_some() {
            gather.removed(VpnRange::new(page, page + 1));
        }
        if let Some((frame, sort)) = slot::held(space.env(), old) {
            let_go(space, vma, page, frame, old.is_dirty(), sort);
            delta.add(sort, -1);
            // There is room: it was asked above.
            let _ = gather.frame(frame);
        }
    }
    ControlFlow::Continue(())
}

/// Whether an entry survives this removal.
fn stays<P: Mmu>(space: &Space<P>, entry: Pte, how: Removal) -> bool {
    match how {
        Removal::Unmap => false,
        Removal::Discard | Removal::Truncate => slot::is_guard(entry),
        Removal::Invalidate => {
            slot::is_guard(entry)
                || matches!(slot::held(space.env(), entry), None | Some((_, Resident::Anon)))
        }
    }
}

/// What a frame's record and object learn when an entry for it goes. (An object
/// knows already what was dirty about an entry that is being moved.)
fn let_go<P: Mmu>(space: &Space<P>, vma: &Vma<P>, page: Vpn, frame: Pfn, dirty: bool, sort: Resident) {
    let record = space.env().phys().record(frame);
    match sort {
        Resident::Anon => {}
        // Stores through this entry went to the object.
        Resident::File | Resident::Shmem if dirty => {
            if let Some(object) = vma.object() {
                let _ = object.dirty(vma.pgoff_at(page), frame);
            }
        }
        Resident::File | Resident::Shmem => {}
    }
    if vma.flags.contains(VmFlags::LOCKED) {
        record.clear(FrameFlags::MLOCKED);
    }
    let _ = record.maps.put();
}

/// Frees the leaf tables of which `range` is all.
///
/// # Linux source concept
/// `CONFIG_PT_RECLAIM`: only whole tables, and only for `MADV_DONTNEED`.
fn free_whole_tables<'s, P: Mmu>(space: &'s Space<P>, range: VpnRange, gather: &mut Gather<'s, P>) {
    const TABLE: u64 = 512;
    let whole = VpnRange::new(range.start.align_up(TABLE), range.end.align_down(TABLE));
    for first in (whole.start.raw()..whole.end.raw()).step_by(TABLE as usize) {
        let first = Vpn::new(first);
        // One table at a time, so that the tables above stay, as on Linux.
        space
            .tables()
            .free_range(VpnRange::new(first, first + TABLE), gather);
    }
}
