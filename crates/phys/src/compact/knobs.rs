//! What can be set about compaction while a machine runs.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};

use crate::phys::Phys;

/// The settings of compaction.
#[derive(Debug)]
pub(crate) struct Knobs {
    threshold: AtomicU32,
    proactiveness: AtomicU32,
}

impl Knobs {
    pub(crate) fn new() -> Self {
        Self {
            threshold: AtomicU32::new(500),
            proactiveness: AtomicU32::new(20),
        }
    }
}

impl<P: Platform> Phys<P> {
    /// Fragmentation from which on compaction is the remedy, in thousandths
    /// (`vm.extfrag_threshold`).
    pub fn fragmentation_threshold(&self) -> u32 {
        self.knobs.threshold.load(Ordering::Relaxed)
    }

    /// Sets it; at most 1000.
    pub fn set_fragmentation_threshold(&self, thousandths: u32) {
        self.knobs
            .threshold
            .store(thousandths.min(1000), Ordering::Relaxed);
    }

    /// How much fragmentation is worth work that nobody asked for, 0 (none) to
    /// 100 (`vm.compaction_proactiveness`).
    pub fn proactiveness(&self) -> u32 {
        self.knobs.proactiveness.load(Ordering::Relaxed)
    }

    /// Sets it; at most 100.
    pub fn set_proactiveness(&self, hundredths: u32) {
        self.knobs
            .proactiveness
            .store(hundredths.min(100), Ordering::Relaxed);
    }
}
