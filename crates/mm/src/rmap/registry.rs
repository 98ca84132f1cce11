//! What the numbers in records stand for.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use super::kin::Kin;
use crate::object::Object;

/// Things by number, for as long as somebody else has them.
///
/// # Locking
/// A spin lock, with nothing called under it.
pub(crate) struct Registered<T>(SpinLock<BTreeMap<u64, Weak<T>>>);

impl<T> Registered<T> {
    fn new() -> Self {
        Self(SpinLock::new(BTreeMap::new()))
    }

    /// Makes `what` known.
    pub(crate) fn add(&self, number: u64, what: &Arc<T>) {
        self.0.lock().insert(number, Arc::downgrade(what));
    }

    /// Forgets a number, when what it stood for is being dropped.
    pub(crate) fn remove(&self, number: u64) {
        let gone = self.0.lock().remove(&number);
        drop(gone);
    }

    /// What a number stands for.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<T>> {
        self.0.lock().get(&number).and_then(Weak::upgrade)
    }
}

/// All kins and objects of a machine.
pub(crate) struct Registry<P: Mmu> {
    kins: Registered<Kin<P>>,
    objects: Registered<Object<P>>,
    last_kin: AtomicU64,
}

impl<P: Mmu> Registry<P> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            kins: Registered::new(),
            objects: Registered::new(),
            last_kin: AtomicU64::new(0),
        })
    }

    pub(crate) fn kins(&self) -> &Registered<Kin<P>> {
        &self.kins
    }

    pub(crate) fn objects(&self) -> &Registered<Object<P>> {
        &self.objects
    }

    pub(super) fn next_kin(&self) -> u64 {
        self.last_kin.fetch_add(1, Ordering::Relaxed) + 1
    }
}
