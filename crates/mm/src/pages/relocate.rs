//! Moving pages to another place of the same space.

use foliant_arch::x86_64::Pte;
use foliant_paging::{Gather, Missing};
use foliant_phys::AllocError;
use foliant_platform::Mmu;
use foliant_units::{Vpn, VpnRange};

use crate::space::Space;

/// Entries that are under way at once.
const BATCH: usize = 64;

/// Moves what `range` maps to `to`.
///
/// # Errors
/// No memory for tables at the new place; nothing has moved then.
///
/// # Locking
/// The VMAs at both places are frozen or not published yet, so entries appear
/// and vanish by this function alone; the hardware still sets their bits.
///
/// # Linux source concept
/// `move_page_tables()`.
pub(crate) fn relocate<'s, P: Mmu>(
    space: &'s Space<P>,
    range: VpnRange,
    to: Vpn,
    gather: &mut Gather<'s, P>,
) -> Result<(), AllocError> {
    prepare(space, range, to)?;
    let mut at = range.start;
    while at < range.end {
        let mut batch = [(Vpn::ZERO, Pte::EMPTY); BATCH];
        let (count, next) = take(space, VpnRange::new(at, range.end), &mut batch, gather);
        let moved = |page: Vpn| to + (page - range.start);
        for &(page, entry) in &batch[..count] {
            // The table was made by `prepare`, and one inside a frozen range is
            // nobody's to free.
            let leaf = space.tables().lock_leaf(moved(page), Missing::Skip)?;
            debug_assert!(leaf.is_some(), "the table at the new place vanished");
            if let Some(mut leaf) = leaf {
                leaf.set(moved(page), entry);
            }
        }
        at = next;
    }
    Ok(())
}

/// Makes the tables that the new place needs.
fn prepare<P: Mmu>(space: &Space<P>, range: VpnRange, to: Vpn) -> Result<(), AllocError> {
    let mut at = range.start;
    while at < range.end {
        let Some(leaf) = space.tables().lock_leaf(at, Missing::Skip)? else {
            // Nothing up to the next place where a leaf table can start.
            at = at.align_down(512) + 512;
            continue;
        };
        let part = leaf.range().intersect(VpnRange::new(at, range.end));
        let occupied = leaf.live() != 0;
        drop(leaf);
        if occupied {
            for page in [part.start, part.end - 1] {
                drop(
                    space
                        .tables()
                        .lock_leaf(to + (page - range.start), Missing::Allocate)?,
                );
            }
        }
        at = part.end;
    }
    Ok(())
}

/// Takes entries of the first leaf table that has any. Returns how many, and
/// the first page that was not looked at.
fn take<'s, P: Mmu>(
    space: &'s Space<P>,
    range: VpnRange,
    batch: &mut [(Vpn, Pte); BATCH],
    gather: &mut Gather<'s, P>,
) -> (usize, Vpn) {
    let mut count = 0;
    let Ok(Some(mut leaf)) = space.tables().lock_leaf(range.start, Missing::Skip) else {
        return (0, (range.start.align_down(512) + 512).min(range.end));
    };
    let part = leaf.range().intersect(range);
    for page in part.iter() {
        if count == BATCH {
            return (count, page);
        }
        let entry = leaf.take(page);
        if entry.is_empty() {
            continue;
        }
        if entry.is_present() {
            gather.removed(VpnRange::new(page, page + 1));
        }
        batch[count] = (page, entry);
        count += 1;
    }
    (count, part.end)
}
