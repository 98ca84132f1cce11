//! Frame allocators.

mod ours;
mod peers;
mod placement;
mod workloads;

use foliant_units::Order;

pub use placement::{Placement, placement};
pub use workloads::run;

/// Frames that every allocator manages here: 1 GiB.
pub(crate) const FRAMES: usize = 1 << 18;

/// An allocator that threads share. `cpu` is the caller's, for those who care.
pub(crate) trait Allocator: Sync {
    /// What reports call it.
    fn name(&self) -> &'static str;

    /// The first frame of a folio.
    fn alloc(&self, order: Order) -> Option<usize>;

    /// Gives it back.
    fn free(&self, at: usize, order: Order);

    /// Tells which CPU this thread is on.
    fn on_cpu(&self, _cpu: usize) {}

    /// Moves what is cached back, before placement is looked at.
    fn settle(&self) {}
}
