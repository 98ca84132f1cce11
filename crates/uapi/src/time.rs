//! Times, clocks and timers.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Seconds and nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: i64,
}

impl Timespec {
    /// `utimensat(2)`: set to now.
    pub const UTIME_NOW: i64 = (1 << 30) - 1;
    /// `utimensat(2)`: leave as it is.
    pub const UTIME_OMIT: i64 = (1 << 30) - 2;

    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self {
            sec: (nanos / 1_000_000_000) as i64,
            nsec: (nanos % 1_000_000_000) as i64,
        }
    }

    /// In nanoseconds, saturating; `None` if it is negative or not normalised,
    /// which is `EINVAL` wherever the kernel takes one.
    pub const fn to_nanos(self) -> Option<u64> {
        if self.sec < 0 || self.nsec < 0 || self.nsec >= 1_000_000_000 {
            return None;
        }
        let sec = (self.sec as u64).saturating_mul(1_000_000_000);
        Some(sec.saturating_add(self.nsec as u64))
    }
}

/// Seconds and microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timeval {
    /// Seconds.
    pub sec: i64,
    /// Microseconds, 0 to 999,999.
    pub usec: i64,
}

impl Timeval {
    /// From nanoseconds, rounded down.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self {
            sec: (nanos / 1_000_000_000) as i64,
            usec: (nanos % 1_000_000_000 / 1000) as i64,
        }
    }

    /// In nanoseconds, saturating; `None` if it is negative or not normalised.
    pub const fn to_nanos(self) -> Option<u64> {
        if self.usec < 0 || self.usec >= 1_000_000 {
            return None;
        }
        Timespec {
            sec: self.sec,
            nsec: self.usec * 1000,
        }
        .to_nanos()
    }
}

/// A timer of `timer_settime(2)` and `timerfd_settime(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerspec {
    /// Period; zero fires once.
    pub interval: Timespec,
    /// First expiry; zero disarms.
    pub value: Timespec,
}

/// A timer of `setitimer(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerval {
    /// Period; zero fires once.
    pub interval: Timeval,
    /// First expiry; zero disarms.
    pub value: Timeval,
}

/// Result of `times(2)`, in clock ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tms {
    /// User time.
    pub utime: i64,
    /// System time.
    pub stime: i64,
    /// User time of waited-for children.
    pub cutime: i64,
    /// System time of waited-for children.
    pub cstime: i64,
}

/// Second argument of `gettimeofday(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timezone {
    /// Minutes west of Greenwich.
    pub minuteswest: i32,
    /// Kind of daylight saving.
    pub dsttime: i32,
}

/// `struct utimbuf` of `utime(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Utimbuf {
    /// Access time, seconds.
    pub actime: i64,
    /// Modification time, seconds.
    pub modtime: i64,
}

/// The clocks with fixed numbers. Negative numbers name the CPU clock of a
/// process or thread and are not listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum ClockId {
    /// Wall clock.
    Realtime = 0,
    /// Since some start, never stepped.
    Monotonic = 1,
    /// CPU time of the process.
    ProcessCpu = 2,
    /// CPU time of the thread.
    ThreadCpu = 3,
    /// Monotonic without frequency adjustment.
    MonotonicRaw = 4,
    /// Wall clock, as of the last tick.
    RealtimeCoarse = 5,
    /// Monotonic, as of the last tick.
    MonotonicCoarse = 6,
    /// Monotonic that counts suspension.
    Boottime = 7,
    /// Wall clock that wakes the system.
    RealtimeAlarm = 8,
    /// Boot time that wakes the system.
    BoottimeAlarm = 9,
    /// International atomic time.
    Tai = 11,
}

impl ClockId {
    /// Decodes the argument; `None` for CPU clocks of others and for `EINVAL`.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        Some(match raw {
            0 => Self::Realtime,
            1 => Self::Monotonic,
            2 => Self::ProcessCpu,
            3 => Self::ThreadCpu,
            4 => Self::MonotonicRaw,
            5 => Self::RealtimeCoarse,
            6 => Self::MonotonicCoarse,
            7 => Self::Boottime,
            8 => Self::RealtimeAlarm,
            9 => Self::BoottimeAlarm,
            11 => Self::Tai,
            _ => return None,
        })
    }
}

bitflags! {
    /// Flags of the timer-setting calls.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct TimerFlags: u32 {
        /// The value is absolute.
        const ABSTIME = 1;
        /// `timerfd`: reads fail with `ECANCELED` when the wall clock is stepped.
        const CANCEL_ON_SET = 2;
    }
}

/// Which timer of `setitimer(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Itimer {
    /// Wall time, `SIGALRM`.
    Real = 0,
    /// User CPU time, `SIGVTALRM`.
    Virtual = 1,
    /// CPU time, `SIGPROF`.
    Prof = 2,
}

impl Itimer {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Real),
            1 => Some(Self::Virtual),
            2 => Some(Self::Prof),
            _ => None,
        }
    }
}

/// `struct sigevent` of `timer_create(2)`, 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigEvent {
    /// Value handed to the handler.
    pub value: u64,
    /// Signal.
    pub signo: i32,
    /// [`SigEvent::SIGNAL`] and its relatives.
    pub notify: i32,
    /// Thread for [`SigEvent::THREAD_ID`].
    pub tid: i32,
    /// Padding.
    pub pad: [u32; 11],
}

impl SigEvent {
    /// Send the signal to the process.
    pub const SIGNAL: i32 = 0;
    /// Do nothing.
    pub const NONE: i32 = 1;
    /// Start a thread (done by the C library).
    pub const THREAD: i32 = 2;
    /// Send the signal to a thread.
    pub const THREAD_ID: i32 = 4;
}

const _: () = assert!(size_of::<SigEvent>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_reject_what_the_kernel_rejects() {
        assert_eq!(Timespec { sec: 1, nsec: 5 }.to_nanos(), Some(1_000_000_005));
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_nanos(), None);
        let long = Timespec {
            sec: 0,
            nsec: 1_000_000_000,
        };
        assert_eq!(long.to_nanos(), None);
        assert_eq!(
            Timespec {
                sec: i64::MAX,
                nsec: 0
            }
            .to_nanos(),
            Some(u64::MAX)
        );
    }
}
