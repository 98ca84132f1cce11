//! When nobody can look at what was freed any more.

use foliant_paging::Epoch;

/// A clock of grace periods, handed in by whoever knows the readers.
///
/// # Linux source concept
/// `get_state_synchronize_rcu()` and `poll_state_synchronize_rcu()`.
pub trait Grace: Send + Sync {
    /// What the clock shows, for something that no new reader can find.
    fn stamp(&self) -> u64;

    /// Moves the clock if it may move, and tells whether every reader that was
    /// inside a section at `stamp` has left it. Does not wait.
    fn is_over(&self, stamp: u64) -> bool;
}

impl Grace for Epoch {
    fn stamp(&self) -> u64 {
        Epoch::stamp(self) as u64
    }

    fn is_over(&self, stamp: u64) -> bool {
        Epoch::is_over(stamp as usize, self.advance())
    }
}
