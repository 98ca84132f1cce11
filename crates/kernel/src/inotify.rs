//! Being told of changes to files: what its system calls need of the file that
//! tells.

use foliant_platform::Mmu;
use foliant_units::Errno;

use crate::fs::NodeRef;

/// A file that is read for what has happened to others.
///
/// # Linux source concept
/// `struct fsnotify_group` of inotify.
pub trait Watches<M: Mmu>: Send + Sync {
    /// Watches `node` for the events in `mask` (`IN_*`, as
    /// `inotify_add_watch(2)` has them); returns the number of the watch.
    ///
    /// # Errors
    /// Those of the call; `OPNOTSUPP` for files that cannot be watched.
    fn add(&self, node: &NodeRef<M>, mask: u32) -> Result<i32, Errno>;

    /// Ends a watch.
    ///
    /// # Errors
    /// `INVAL` if there is none of that number.
    fn remove(&self, watch: i32) -> Result<(), Errno>;
}
