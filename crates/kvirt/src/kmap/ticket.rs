//! Waiting for something to change, without losing the change.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::relax;

/// What a thread does while it waits. A kernel with a scheduler parks it on a
/// queue; it may return too early, the caller looks again.
pub trait Pause: Send + Sync {
    /// Waits a while, at most until `changed` says so. `spins` counts the
    /// caller's attempts.
    fn pause(&self, changed: &dyn Fn() -> bool, spins: &mut u32);

    /// Something has changed: nobody needs to wait longer.
    fn wake(&self) {}
}

/// Waiting by spinning, and by yielding after a while where there is a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spin;

impl Pause for Spin {
    fn pause(&self, changed: &dyn Fn() -> bool, spins: &mut u32) {
        if !changed() {
            relax(spins);
        }
    }
}

/// Counts changes. Whoever waits takes a ticket, looks, and then waits until
/// the count has left the ticket: a change in between is not missed.
#[derive(Debug, Default)]
pub(crate) struct Changes(AtomicU32);

impl Changes {
    pub(crate) fn ticket(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn announce(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn has_left(&self, ticket: u32) -> bool {
        self.ticket() != ticket
    }
}
