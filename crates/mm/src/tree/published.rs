//! The tree that everybody sees.

use foliant_platform::sync::SpinLock;

use super::node::{Spanned, Tree};

/// The current version of a tree. Readers take it whenever they like; whoever
/// publishes excludes other writers by a lock of their own.
pub struct Published<T> {
    current: SpinLock<Tree<T>>,
}

impl<T: Spanned> Published<T> {
    /// Publishes a first version.
    pub fn new(tree: Tree<T>) -> Self {
        Self {
            current: SpinLock::new(tree),
        }
    }

    /// The current version, which later publications leave as it is.
    pub fn snapshot(&self) -> Tree<T> {
        self.current.lock().clone()
    }

    /// Looks something up without keeping the version. `look` must be short.
    pub fn with<R>(&self, look: impl FnOnce(&Tree<T>) -> R) -> R {
        look(&self.current.lock())
    }

    /// Makes `tree` the current version.
    pub fn publish(&self, tree: Tree<T>) {
        let old = core::mem::replace(&mut *self.current.lock(), tree);
        // Freed here, outside of the lock.
        drop(old);
    }
}
