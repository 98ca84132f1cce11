//! What the allocator asks of those who know who refers to a folio.

use foliant_units::Pfn;

use crate::boot::NodeId;

/// What became of a folio that should move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Its content and all references to it are at the new place, and the old
    /// one is free, or will be as soon as those who look at it now are done.
    /// The reference to the new place that came with the call is used up.
    Yes,
    /// Not now: someone uses it. The new place is untouched.
    Busy,
    /// Never: it is pinned, or nobody who is known refers to it. The new place
    /// is untouched.
    No,
}

/// Someone who can move folios: finds all references to them (entries of page
/// tables, slots of objects) and makes them refer to another place.
///
/// # Linux source concept
/// `migrate_pages()` with the reverse map behind it.
pub trait Migrator: Send + Sync {
    /// Moves the folio whose first frame is `from` to the folio at `to`, of the
    /// same order, whose only reference comes with the call. Called with no lock
    /// of the allocator; allocates with
    /// [`Effort::Reserves`](crate::Effort::Reserves) only.
    fn migrate(&self, from: Pfn, to: Pfn) -> Moved;

    /// A large folio could not be had on `node` by somebody who may not wait:
    /// have [`compaction_daemon`](crate::Phys::compaction_daemon) called soon, on
    /// another thread. Called with any lock of the caller held.
    fn wake(&self, _node: NodeId) {}
}
