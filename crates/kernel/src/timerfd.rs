//! Timers that are read: `timerfd_create(2)`.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Nanos;
use foliant_platform::sync::SpinLock;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_uapi::time::{ClockId, Itimerspec, Timespec};
use foliant_units::Errno;

use crate::fs::{File, FileStat, Sink, Splices, anonymous_stat};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::WaitQueue;
use crate::timer::{Expire, TimerId};

/// A timer that counts its expirations until they are read.
///
/// # Linux source concept
/// `struct timerfd_ctx`, fs/timerfd.c. Differs: a wall clock that is set does
/// not move an absolute timer.
pub struct TimerFd<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    me: Weak<Self>,
    clock: ClockId,
    state: SpinLock<State>,
    changed: WaitQueue,
}

#[derive(Default)]
struct State {
    /// In the machine's monotonic time, while the timer runs.
    due: Option<Nanos>,
    interval: u64,
    expired: u64,
    place: Option<TimerId>,
}

impl<M: UserMachine> TimerFd<M> {
    /// A timer that does not run.
    ///
    /// # Errors
    /// `INVAL` for a clock that it cannot follow.
    pub fn new(kernel: &Arc<Kernel<M>>, clock: i32) -> Result<Arc<Self>, Errno> {
        let clock = match ClockId::from_raw(clock) {
            Some(
                clock @ (ClockId::Realtime
                | ClockId::Monotonic
                | ClockId::Boottime
                | ClockId::RealtimeAlarm
                | ClockId::BoottimeAlarm),
            ) => clock,
            _ => return Err(Errno::INVAL),
        };
        Ok(Arc::new_cyclic(|me| Self {
            kernel: Arc::downgrade(kernel),
            me: me.clone(),
            clock,
            state: SpinLock::new(State::default()),
            changed: WaitQueue::new(),
        }))
    }

    /// Starts or stops the timer; returns what it was set to.
    ///
    /// # Errors
    /// `INVAL` for times that are none.
    pub fn set(&self, new: Itimerspec, absolute: bool) -> Result<Itimerspec, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::INVAL)?;
        let value = new.value.to_nanos().ok_or(Errno::INVAL)?;
        let interval = new.interval.to_nanos().ok_or(Errno::INVAL)?;
        let now = kernel.machine().now();
        let old = self.get();
        let due = match value {
            0 => None,
            value if absolute => Some(self.monotonic(&kernel, value)),
            value => Some(Nanos(now.0.saturating_add(value))),
        };
        let place = {
            let mut state = self.state.lock();
            let place = state.place.take();
            *state = State {
                due,
                interval,
                expired: 0,
                place: None,
            };
            place
        };
        if let Some(place) = place {
            kernel.unschedule(place);
        }
        if let Some(due) = due {
            self.schedule(&kernel, due);
        }
        Ok(old)
    }

    /// What the timer is set to: the time left, and the interval.
    pub fn get(&self) -> Itimerspec {
        let now = self
            .kernel
            .upgrade()
            .map_or(Nanos(0), |kernel| kernel.machine().now());
        let state = self.state.lock();
        let left = state.due.map_or(0, |due| due.0.saturating_sub(now.0).max(1));
        Itimerspec {
            interval: Timespec::from_nanos(state.interval),
            value: Timespec::from_nanos(left),
        }
    }

    /// The machine's monotonic time at which the timer's clock shows `value`.
    fn monotonic(&self, kernel: &Kernel<M>, value: u64) -> Nanos {
        match self.clock {
            ClockId::Realtime | ClockId::RealtimeAlarm => {
                let (real, now) = (kernel.machine().realtime(), kernel.machine().now());
                Nanos(now.0.saturating_add(value.saturating_sub(real.0)))
            }
            _ => Nanos(value),
        }
    }

    fn schedule(&self, kernel: &Kernel<M>, due: Nanos) {
        let Some(me) = self.me.upgrade() else { return };
        let place = kernel.schedule(due, me);
        let mut state = self.state.lock();
        // It may have expired already, or been set anew.
        if state.due == Some(due) && state.place.is_none() {
            state.place = Some(place);
        }
    }
}

impl<M: UserMachine> Expire for TimerFd<M> {
    fn expire(self: Arc<Self>, now: Nanos) {
        let next = {
            let mut state = self.state.lock();
            let Some(due) = state.due.filter(|due| *due <= now) else {
                return;
            };
            state.place = None;
            let late = now.0 - due.0;
            let missed = late.checked_div(state.interval).unwrap_or(0);
            state.expired += 1 + missed;
            state.due = (state.interval > 0).then(|| Nanos(due.0 + state.interval * (1 + missed)));
            state.due
        };
        self.changed.wake_all();
        if let (Some(next), Some(kernel)) = (next, self.kernel.upgrade()) {
            self.schedule(&kernel, next);
        }
    }
}

impl<M: UserMachine> File<M> for TimerFd<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        if to.room() < 8 {
            return Err(Errno::INVAL);
        }
        let expired = core::mem::take(&mut self.state.lock().expired);
        if expired == 0 {
            return Err(Errno::AGAIN);
        }
        to.put(&expired.to_le_bytes())
    }

    fn ready(&self) -> PollEvents {
        let expired = self.state.lock().expired;
        if expired > 0 {
            PollEvents::IN
        } else {
            PollEvents::empty()
        }
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.changed.clone())
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(anonymous_stat())
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[timerfd]".to_vec()
    }

    fn fdinfo(&self) -> String {
        let set = self.get();
        let ticks = self.state.lock().expired;
        alloc::format!(
            "clockid: {}\nticks: {ticks}\nsettime flags: 00\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.clock as i32,
            set.value.sec,
            set.value.nsec,
            set.interval.sec,
            set.interval.nsec
        )
    }
}
