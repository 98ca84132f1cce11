//! How often each call came.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_uapi::Sysno;

/// System calls by number: all, and those that nobody handles.
pub struct Counts {
    calls: Vec<AtomicU64>,
    unsupported: SpinLock<BTreeMap<u64, u64>>,
}

impl Counts {
    /// All zero.
    pub fn new() -> Self {
        Self {
            calls: (0..Sysno::LIMIT).map(|_| AtomicU64::new(0)).collect(),
            unsupported: SpinLock::new(BTreeMap::new()),
        }
    }

    /// Counts one call.
    pub(crate) fn called(&self, nr: u64) {
        self.called_many(nr, 1);
    }

    /// Counts calls that a machine answered without the kernel.
    pub fn called_many(&self, nr: u64, count: u64) {
        if let Some(counter) = self.calls.get(nr as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts one call that got `ENOSYS`.
    pub(crate) fn missing(&self, nr: u64) {
        *self.unsupported.lock().entry(nr).or_default() += 1;
    }

    /// Calls by number, those that came.
    pub fn calls(&self) -> impl Iterator<Item = (Sysno, u64)> + '_ {
        let counted = self.calls.iter().enumerate();
        counted
            .map(|(nr, count)| (Sysno::new(nr as u32), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count != 0)
    }

    /// Calls by number that got `ENOSYS` because they are not there; numbers
    /// may be ones that Linux does not have either.
    pub fn unsupported(&self) -> Vec<(u64, u64)> {
        self.unsupported
            .lock()
            .iter()
            .map(|(nr, count)| (*nr, *count))
            .collect()
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}
