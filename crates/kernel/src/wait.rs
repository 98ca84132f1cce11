//! How a process ended.

use crate::machine::CpuTimes;

pub use foliant_uapi::clone::WaitStatus;

/// What is left of a process that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How.
    pub status: WaitStatus,
    /// What it has used.
    pub usage: Usage,
    /// What the children that it waited for have used.
    pub children: Usage,
}

/// The resources of `struct rusage` that are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// CPU time.
    pub times: CpuTimes,
    /// Largest resident set, in KiB.
    pub max_rss_kib: u64,
    /// Faults that needed no input.
    pub minor_faults: u64,
    /// Faults that needed input.
    pub major_faults: u64,
}

impl Usage {
    /// Adds what somebody else has used; of resident sets the larger counts.
    pub fn add(&mut self, other: &Self) {
        self.times.user.0 += other.times.user.0;
        self.times.system.0 += other.times.system.0;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
    }
}
