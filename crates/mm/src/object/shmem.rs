//! Memory that is a file of its own.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};

/// What shared memory has beside its frames.
///
/// # Linux source concept
/// `struct shmem_inode_info`, as far as it is not accounting.
#[derive(Default, Debug)]
pub(super) struct Shmem {
    seals: AtomicU32,
}

impl Shmem {
    pub(super) fn seals(&self) -> u32 {
        self.seals.load(Ordering::Acquire)
    }

    pub(super) fn add_seals(&self, seals: u32) {
        self.seals.fetch_or(seals, Ordering::AcqRel);
    }
}
