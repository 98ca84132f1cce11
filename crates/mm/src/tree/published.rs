//! The tree that everybody sees.

use super::node::{Spanned, Tree};
use super::shared::Shared;

/// The current version of a tree. Readers look at it without a lock whenever
/// they like; a writer makes the next version in private and publishes it.
///
/// # Linux source concept
/// The maple tree's `rcu_read_lock()` side: `lock_vma_under_rcu()`.
pub struct Published<T> {
    current: Shared<Tree<T>>,
}

impl<T: Spanned> Published<T> {
    /// Publishes a first version.
    pub fn new(tree: Tree<T>) -> Self {
        Self {
            current: Shared::new(tree),
        }
    }

    /// The current version, which later publications leave as it is.
    pub fn snapshot(&self) -> Tree<T> {
        self.current.read(Tree::clone)
    }

    /// Looks something up without keeping the version. `look` must be short:
    /// publishing waits for it.
    pub fn with<R>(&self, look: impl FnOnce(&Tree<T>) -> R) -> R {
        self.current.read(look)
    }

    /// Makes `tree` the current version. Versions published at the same time
    /// come one after the other.
    pub fn publish(&self, tree: Tree<T>) {
        // Freed here, when no reader can hold it any more.
        drop(self.current.replace(tree));
    }
}
