//! How a process ended, and those who wait for it.

use crate::machine::CpuTimes;
use crate::signal::Signal;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(u8),
    /// A signal killed it.
    Killed(Signal),
    /// A signal killed it that would have left a core image.
    Dumped(Signal),
}

impl Exit {
    /// The status word of `wait4`.
    pub fn status(self) -> u32 {
        match self {
            Exit::Code(code) => u32::from(code) << 8,
            Exit::Killed(signal) => u32::from(signal.raw()),
            Exit::Dumped(signal) => u32::from(signal.raw()) | 0x80,
        }
    }

    /// What a shell shows as `$?`.
    pub fn shell_status(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Killed(signal) | Exit::Dumped(signal) => 128 + signal.raw(),
        }
    }
}

/// What is left of a process that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// What it and the children it waited for have used.
    pub usage: Usage,
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
    /// Sleeps.
    pub voluntary_switches: u64,
}
