//! The clocks that programs read and time things by.

use foliant_platform::Nanos;
use foliant_uapi::time::ClockId;

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::process::Process;

/// What a clock measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Wall-clock time.
    Real,
    /// Time since boot.
    Monotonic,
    /// CPU time of a process, user and system.
    ProcessCpu,
    /// User CPU time of a process (`ITIMER_VIRTUAL`).
    ProcessUser,
}

impl Clock {
    /// The clock behind a number of `timer_create`; CPU clocks of threads
    /// count as their process's here.
    pub fn of(id: ClockId) -> Self {
        match id {
            ClockId::Realtime | ClockId::RealtimeCoarse | ClockId::RealtimeAlarm | ClockId::Tai => {
                Clock::Real
            }
            ClockId::Monotonic
            | ClockId::MonotonicRaw
            | ClockId::MonotonicCoarse
            | ClockId::Boottime
            | ClockId::BoottimeAlarm => Clock::Monotonic,
            ClockId::ProcessCpu | ClockId::ThreadCpu => Clock::ProcessCpu,
        }
    }

    /// Whether it stands still while the process does.
    pub fn is_cpu(self) -> bool {
        matches!(self, Clock::ProcessCpu | Clock::ProcessUser)
    }
}

impl<M: UserMachine> Kernel<M> {
    /// What a clock shows; CPU clocks that of `process`.
    pub fn clock(&self, clock: Clock, process: &Process<M>) -> Nanos {
        match clock {
            Clock::Real => self.machine().realtime(),
            Clock::Monotonic => self.machine().now(),
            Clock::ProcessCpu => {
                let times = self.process_usage(process).times;
                Nanos(times.user.0 + times.system.0)
            }
            Clock::ProcessUser => self.process_usage(process).times.user,
        }
    }

    /// The moment in the machine's monotonic time at which a wall clock that
    /// is not stepped shows `real`.
    pub fn monotonic_of(&self, real: Nanos) -> Nanos {
        let now = self.machine().realtime();
        Nanos(
            self.machine()
                .now()
                .0
                .saturating_add(real.0.saturating_sub(now.0)),
        )
    }
}
