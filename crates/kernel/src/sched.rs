//! Scheduling parameters. The host schedules; here they are kept and told.

/// What `sched_setscheduler` and friends set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sched {
    /// `SCHED_OTHER` 0, `FIFO` 1, `RR` 2, `BATCH` 3, `IDLE` 5.
    pub policy: u32,
    /// Real-time priority.
    pub priority: u32,
    /// Niceness, -20 to 19.
    pub nice: i32,
    /// Whether children start with the defaults.
    pub reset_on_fork: bool,
    /// CPUs that it may run on, one bit each.
    pub affinity: u64,
}

impl Sched {
    /// The defaults, on a machine of `cpus` CPUs.
    pub fn new(cpus: u32) -> Self {
        Self {
            policy: 0,
            priority: 0,
            nice: 0,
            reset_on_fork: false,
            affinity: all_cpus(cpus),
        }
    }

    /// What a child starts with.
    pub fn for_child(self) -> Self {
        if self.reset_on_fork {
            Self {
                policy: 0,
                priority: 0,
                nice: self.nice.max(0),
                reset_on_fork: false,
                affinity: self.affinity,
            }
        } else {
            self
        }
    }
}

/// A bit for each of `cpus` CPUs; machines have 64 at most.
pub(crate) fn all_cpus(cpus: u32) -> u64 {
    if cpus >= 64 { u64::MAX } else { (1 << cpus) - 1 }
}
