//! Resource limits.

use foliant_uapi::resource::{Resource, Rlimit};
use foliant_units::Errno;

/// The limits of a process.
#[derive(Clone, Debug)]
pub struct Limits([Rlimit; 16]);

/// The largest number of descriptors that a limit may allow (`fs.nr_open`).
const FILES_MAX: u64 = 1 << 20;

impl Limits {
    /// What the first process of a machine has where nothing else is said.
    pub fn new() -> Self {
        let mut limits = Self([Rlimit::UNLIMITED; 16]);
        let set = [
            (Resource::Stack, 8 << 20, Rlimit::INFINITY),
            (Resource::Core, 0, Rlimit::INFINITY),
            (Resource::Nofile, 1024, 4096),
            (Resource::Memlock, 8 << 20, 8 << 20),
            (Resource::Msgqueue, 819_200, 819_200),
            (Resource::Nice, 0, 0),
            (Resource::Rtprio, 0, 0),
        ];
        for (which, cur, max) in set {
            limits.put(which, Rlimit { cur, max });
        }
        limits
    }

    /// One limit.
    pub fn get(&self, which: Resource) -> Rlimit {
        self.0[which.index()]
    }

    /// Sets one limit without asking.
    pub fn put(&mut self, which: Resource, limit: Rlimit) {
        self.0[which.index()] = limit;
    }

    /// Sets one limit for a program.
    ///
    /// # Errors
    /// `INVAL` if the soft limit exceeds the hard one; `PERM` if the hard one
    /// rises without the privilege to raise it, or too far.
    pub fn set(&mut self, which: Resource, limit: Rlimit, privileged: bool) -> Result<(), Errno> {
        if limit.cur > limit.max {
            return Err(Errno::INVAL);
        }
        if which == Resource::Nofile && limit.max > FILES_MAX {
            return Err(Errno::PERM);
        }
        if limit.max > self.get(which).max && !privileged {
            return Err(Errno::PERM);
        }
        self.put(which, limit);
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
