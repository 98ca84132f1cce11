//! Counts of free frames that CPUs keep for themselves until they are worth
//! telling.
//!
//! # Linux source concept
//! `zone_page_state()` with per-CPU differentials, `zone_page_state_snapshot()`.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicI64, Ordering};

use crate::mutant::{Mutant, is_on};
use crate::phys::Phys;
use crate::zone::{Zone, ZoneId};

impl Zone {
    /// Adds to a CPU's difference, and folds it in if it became large. Under
    /// the CPU's guard.
    pub(crate) fn fold_in(&self, delta: &AtomicI64, by: i64) {
        let sum = delta.load(Ordering::Relaxed) + by;
        if sum.abs() >= self.fold_at() {
            self.fold(sum);
            delta.store(0, Ordering::Relaxed);
        } else {
            delta.store(sum, Ordering::Relaxed);
        }
    }

    /// Folds in all of a CPU's difference. Under the CPU's guard.
    pub(crate) fn fold_all(&self, delta: &AtomicI64) {
        let sum = delta.load(Ordering::Relaxed);
        delta.store(0, Ordering::Relaxed);
        self.fold(sum);
    }

    fn fold(&self, by: i64) {
        if is_on(Mutant::FoldInTwoSteps) {
            let free = self.free.load(Ordering::Relaxed);
            return self.free.store(free + by, Ordering::Relaxed);
        }
        self.free.fetch_add(by, Ordering::Relaxed);
    }
}

impl<P: Platform> Phys<P> {
    /// Free frames in the lines of a zone, with what CPUs have not told yet.
    /// Exact while nobody allocates or frees.
    pub(crate) fn free_exactly(&self, id: ZoneId, zone: &Zone) -> u64 {
        let untold: i64 = (0..self.cpus.len())
            .map(|cpu| self.cpus.share(cpu, id).delta.load(Ordering::Relaxed))
            .sum();
        (zone.free.load(Ordering::Relaxed) + untold).max(0) as u64
    }
}
