//! The time that a thread was on a CPU.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// What a thread measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sample {
    /// Nanoseconds of its own per operation.
    pub(super) cost: f64,
    /// The part of the time that it was on a CPU.
    pub(super) presence: f64,
}

impl Sample {
    /// Two threads that ran at once: the dearer one, and the one that was away more.
    pub(super) fn worst(self, other: Self) -> Self {
        Self {
            cost: self.cost.max(other.cost),
            presence: self.presence.min(other.presence),
        }
    }
}

/// Measures `work`, which does `operations`.
pub(super) fn time(operations: usize, work: impl FnOnce()) -> Sample {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let (wall, start) = (Instant::now(), now());
    work();
    let own = now() - start;
    Sample {
        cost: own / operations as f64,
        presence: own / wall.elapsed().as_nanos().max(1) as f64,
    }
}
