//! Many pages of private memory at once, for a program that asks ahead.

use foliant_phys::{AllocRequest, Frame, Owner};
use foliant_platform::Mmu;
use foliant_units::{Order, VpnRange};

use super::anonymous::prepare;
use super::outcome::{Outcome, Weight};
use super::page::Page;
use crate::space::Space;
use crate::thp::Advice;
use crate::vma::Vma;

/// Pages that are filled under one lock of their table.
const BATCH: usize = 32;

/// Fills pages from the start of `pages`, a part of `vma`, for writing, and
/// returns how many. Zero where one fault has to say what happens: the first
/// page has an entry, is not private memory, may become part of a block, or
/// cannot be had.
///
/// As many faults are counted as a program would have taken.
///
/// # Locking
/// The caller holds no lock.
pub(crate) fn fill_ahead<P: Mmu>(space: &Space<P>, vma: &Vma<P>, pages: VpnRange) -> u64 {
    if !vma.is_anonymous() {
        return 0;
    }
    let orders = space.env().thp().allowed(space.thp_mode(), Advice::of(vma.flags));
    let Some(held) = vma.read() else { return 0 };
    let page = Page::look(space, vma, pages.start);
    if !orders.is_empty() || !page.was_empty() {
        return 0;
    }
    prepare(&page);
    let entries = Order::PMD.frames();
    let in_table = pages.start.align_down(entries) + entries;
    let room = pages.end.min(in_table) - pages.start;

    let mut frames: [Option<Frame<'_, P>>; BATCH] = [const { None }; BATCH];
    let mut places = frames.iter_mut().take(room as usize);
    let request = AllocRequest::movable(Owner::Anonymous).zeroed().silent();
    let wanted = places.len();
    let got = space.env().phys().alloc_bulk(request, wanted, |frame| {
        if let Some(place) = places.next() {
            *place = Some(frame);
        }
    });
    if got.is_err() {
        return 0;
    }
    let filled = page.publish_ahead(frames.into_iter().flatten());
    vma.faults.resolved_many(Outcome::Anonymous, filled);
    space.counters().faults(Outcome::Anonymous, Weight::Minor, filled);
    drop(held);
    filled
}
