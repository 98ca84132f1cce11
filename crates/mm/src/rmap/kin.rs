//! Spaces that descend from one another.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;

use super::registry::Registry;
use crate::space::Space;

/// A space that was made empty and all that came of it by forks: those that
/// may map one another's private frames. The records of these hold its number.
///
/// # Locking
/// A spin lock around the list; strong references are dropped outside of it.
///
/// # Linux source concept
/// What the tree of an `anon_vma` root spans. Differs: spaces and not mappings
/// are remembered, so a fault, a split or a merge has nothing to link, and a
/// fork links one space.
pub(crate) struct Kin<P: Mmu> {
    id: u64,
    registry: Arc<Registry<P>>,
    /// By address, which a weak reference keeps from being used again.
    members: SpinLock<BTreeMap<usize, Weak<Space<P>>>>,
}

impl<P: Mmu> Kin<P> {
    /// Of a space without parents.
    pub(crate) fn found(registry: &Arc<Registry<P>>) -> Arc<Self> {
        let id = registry.next_kin();
        let kin = Arc::new(Self {
            id,
            registry: registry.clone(),
            members: SpinLock::new(BTreeMap::new()),
        });
        registry.kins().add(id, &kin);
        kin
    }

    /// The number, never zero.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// One more, before it has any page.
    pub(crate) fn join(&self, space: &Arc<Space<P>>) {
        let key = Arc::as_ptr(space).addr();
        self.members.lock().insert(key, Arc::downgrade(space));
    }

    /// A space that is being dropped, and has no page any more.
    pub(crate) fn leave(&self, space: &Space<P>) {
        let key = core::ptr::from_ref(space).addr();
        let gone = self.members.lock().remove(&key);
        // It frees the memory of the space's last weak reference, outside of the lock.
        drop(gone);
    }

    /// All of them.
    pub(crate) fn spaces(&self) -> Vec<Arc<Space<P>>> {
        // Upgraded under the lock, dropped outside: a last reference ends a space.
        self.members.lock().values().filter_map(Weak::upgrade).collect()
    }
}

impl<P: Mmu> Drop for Kin<P> {
    fn drop(&mut self) {
        self.registry.kins().remove(self.id);
    }
}
