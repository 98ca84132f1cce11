//! What becomes of a report.

use foliant_phys::boot::OnViolation;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use super::report::Report;

/// The broken rules of a cache: counted, and the last one kept.
#[derive(Debug)]
pub(crate) struct Violations {
    then: OnViolation,
    count: AtomicU64,
    last: SpinLock<Option<Report>>,
}

impl Violations {
    pub(crate) fn new(then: OnViolation) -> Self {
        Self {
            then,
            count: AtomicU64::new(0),
            last: SpinLock::new(None),
        }
    }

    /// Takes note of a broken rule; no lock is held.
    #[cold]
    pub(crate) fn note(&self, report: Report) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock() = Some(report);
        assert!(self.then != OnViolation::Panic, "{report}");
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn last(&self) -> Option<Report> {
        *self.last.lock()
    }
}
