//! Frames of files that nobody maps, given back when memory is full.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use foliant_phys::{AllocRequest, OomVerdict, Progress, Reclaimer};
use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;

use super::object::Object;

/// Frames given back at once (`SWAP_CLUSTER_MAX`).
const ENOUGH: usize = 32;

/// The files of a machine, to drop clean and unmapped frames of them. What is
/// dirty, mapped or not a file's stays: choosing among those is the business
/// of a reclaimer that knows what was used when.
///
/// # Locking
/// Its own spin lock and those of caches, so it can be called by whoever may
/// allocate.
pub(crate) struct IdleCache<P: Mmu> {
    files: SpinLock<Files<P>>,
}

struct Files<P: Mmu> {
    known: Vec<Weak<Object<P>>>,
    /// Where the next search starts.
    hand: usize,
    prune_at: usize,
}

impl<P: Mmu> IdleCache<P> {
    pub(crate) fn new() -> Self {
        Self {
            files: SpinLock::new(Files {
                known: Vec::new(),
                hand: 0,
                prune_at: 64,
            }),
        }
    }

    /// A file came into being.
    pub(super) fn add(&self, file: &Arc<Object<P>>) {
        let mut files = self.files.lock();
        if files.known.len() == files.prune_at {
            files.known.retain(|file| file.strong_count() > 0);
            files.prune_at = files.known.len() * 2 + 64;
        }
        files.known.push(Arc::downgrade(file));
    }

    /// The next file to look at, and whether the round is over.
    fn next(&self) -> (Option<Arc<Object<P>>>, bool) {
        let mut files = self.files.lock();
        if files.hand >= files.known.len() {
            files.hand = 0;
            return (None, true);
        }
        let at = files.hand;
        files.hand += 1;
        (files.known[at].upgrade(), false)
    }
}

impl<P: Mmu> Object<P> {
    /// Drops frames that are clean and that only the cache holds.
    fn drop_idle(&self) -> usize {
        // The cache's own reference, and nobody gets another under its lock.
        self.let_go(0..u64::MAX, |pfn, dirty| {
            dirty || self.phys().record(pfn).refs.get() != 1
        })
    }
}

impl<P: Mmu> Reclaimer for IdleCache<P> {
    fn wake(&self, _request: &AllocRequest) {}

    fn reclaim(&self, _request: &AllocRequest) -> Progress {
        let mut freed = 0;
        let mut rounds = 0;
        while freed < ENOUGH && rounds < 2 {
            let (file, over) = self.next();
            rounds += usize::from(over);
            if let Some(file) = file {
                freed += file.drop_idle();
            }
        }
        if freed == 0 {
            Progress::None
        } else {
            Progress::Some
        }
    }

    fn out_of_memory(&self, _request: &AllocRequest) -> OomVerdict {
        OomVerdict::GiveUp
    }
}
