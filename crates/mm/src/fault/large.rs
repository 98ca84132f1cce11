//! The block of pages that one fault on private memory fills.

use foliant_phys::{AllocRequest, Effort, Owner, Run};
use foliant_platform::Mmu;
use foliant_units::{Order, VpnRange};

use super::page::Page;
use crate::thp::{Advice, Orders, ThpEvent, block};

/// Frames of zeroes for a block of pages.
pub(super) struct Block<'f, P: Mmu> {
    pub(super) order: Order,
    pub(super) pages: VpnRange,
    pub(super) frames: Run<'f, P>,
}

/// Frames for the largest block around `page` that its mapping may have, that
/// is empty, and that there is memory for; `None` where only the page itself
/// is to be filled.
///
/// The frames lie side by side and are single from the start: each is mapped,
/// shared, copied and given back on its own.
///
/// # Linux source concept
/// `alloc_anon_folio()`.
pub(super) fn alloc<'f, P: Mmu>(page: &Page<'f, P>) -> Option<Block<'f, P>> {
    let env = page.space.env();
    let advice = Advice::of(page.vma.flags);
    let orders = env.thp().allowed(page.space.thp_mode(), advice);
    if orders.is_empty() || !page.was_empty() {
        return None;
    }
    let largest = largest_empty(page, orders.fitting(page.vma.range, page.vpn))?;

    let effort = if env.thp().defrag().lets_wait(advice) {
        Effort::NoRetry
    } else {
        Effort::NoWait
    };
    let request = AllocRequest::movable(Owner::Anonymous)
        .zeroed()
        .effort(effort)
        .silent();
    // A block inside an empty one is empty.
    let smaller = orders.descending().filter(|order| *order <= largest);
    for order in smaller {
        match env.phys().alloc_exact(request, order.frames()) {
            Ok(frames) => {
                let pages = block(page.vpn, order);
                return Some(Block { order, pages, frames });
            }
            Err(_) => env.thp().count(order, ThpEvent::Fallback),
        }
    }
    None
}

/// The largest of `orders` whose block has no entry yet.
fn largest_empty<P: Mmu>(page: &Page<'_, P>, orders: Orders) -> Option<Order> {
    orders
        .descending()
        .find(|order| page.is_empty_around(block(page.vpn, *order)))
}
