//! What the allocator asks of those who can free memory.

use crate::alloc::AllocRequest;

/// Whether reclaim freed anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Some frames.
    Some,
    /// Nothing.
    None,
}

/// What to do when nothing could be reclaimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomVerdict {
    /// Something was killed, or will be soon: try again.
    Retry,
    /// The request fails.
    GiveUp,
}

/// Someone who can free memory. Called without any lock of this crate.
///
/// # Linux source concept
/// `wake_all_kswapds()`, `__alloc_pages_direct_reclaim()`,
/// `__alloc_pages_may_oom()`.
pub trait Reclaimer: Send + Sync {
    /// Free memory fell below the low watermark: start freeing, but do not
    /// make the caller wait. Called with any lock of the caller held.
    fn wake(&self, request: &AllocRequest);

    /// Free memory now, on the caller's time. Allocates with
    /// [`Effort::Reserves`](crate::Effort::Reserves) only.
    fn reclaim(&self, request: &AllocRequest) -> Progress;

    /// Nothing could be reclaimed.
    fn out_of_memory(&self, request: &AllocRequest) -> OomVerdict;
}
