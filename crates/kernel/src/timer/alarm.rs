//! Setting a process's timers, and what happens when they expire.

use alloc::sync::{Arc, Weak};

use foliant_platform::Nanos;
use foliant_uapi::SigInfo;
use foliant_uapi::signal::Signal;

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::process::Process;
use crate::signal::Target;

use super::clock::Clock;
use super::process_timers::{Armed, Notify, Setting, Which};
use super::queue::Expire;

/// A place in the machine's queue for one timer.
struct Alarm<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    process: Weak<Process<M>>,
    which: Which,
}

/// Starts a timer that expires when `clock` shows `due`, and returns what it
/// was set to before.
pub(crate) fn arm<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    process: &Arc<Process<M>>,
    which: Which,
    clock: Clock,
    due: Nanos,
    interval: Nanos,
) -> Setting {
    let before = disarm(kernel, process, which);
    schedule(kernel, process, which, Due { clock, due, interval });
    before
}

/// Stops a timer, and returns what it was set to.
pub(crate) fn disarm<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    process: &Arc<Process<M>>,
    which: Which,
) -> Setting {
    let before = remaining(kernel, process, which);
    let armed = process.timers.lock().slot(which).and_then(Option::take);
    if let Some(armed) = armed {
        kernel.unschedule(armed.place);
    }
    before
}

/// What a timer is set to: the time left is never zero while it runs.
pub(crate) fn remaining<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    process: &Arc<Process<M>>,
    which: Which,
) -> Setting {
    let armed = process.timers.lock().slot(which).and_then(|slot| *slot);
    let Some(armed) = armed else {
        return Setting::default();
    };
    let now = kernel.clock(armed.clock, process);
    Setting {
        value: armed.due.0.saturating_sub(now.0).max(1),
        interval: armed.interval.0,
    }
}

#[derive(Clone, Copy)]
struct Due {
    clock: Clock,
    due: Nanos,
    interval: Nanos,
}

/// Puts a timer in the machine's queue for the earliest moment at which its
/// clock can show `due`: a CPU clock is looked at again then.
fn schedule<M: UserMachine>(kernel: &Arc<Kernel<M>>, process: &Arc<Process<M>>, which: Which, when: Due) {
    let left = when.due.0.saturating_sub(kernel.clock(when.clock, process).0);
    let left = if when.clock.is_cpu() {
        left / process.tasks().len().max(1) as u64
    } else {
        left
    };
    let at = Nanos(kernel.machine().now().0.saturating_add(left));
    let alarm = Alarm {
        kernel: Arc::downgrade(kernel),
        process: Arc::downgrade(process),
        which,
    };

    // Under the lock, so that an expiry finds the timer armed.
    let mut timers = process.timers.lock();
    let Some(slot) = timers.slot(which) else { return };
    let place = kernel.schedule(at, Arc::new(alarm));
    *slot = Some(Armed {
        clock: when.clock,
        due: when.due,
        interval: when.interval,
        place,
    });
}

impl<M: UserMachine> Expire for Alarm<M> {
    fn expire(self: Arc<Self>, _now: Nanos) {
        let (Some(kernel), Some(process)) = (self.kernel.upgrade(), self.process.upgrade()) else {
            return;
        };
        let armed = process.timers.lock().slot(self.which).and_then(Option::take);
        let Some(armed) = armed else { return };
        let mut when = Due {
            clock: armed.clock,
            due: armed.due,
            interval: armed.interval,
        };

        let late = kernel.clock(armed.clock, &process).0.checked_sub(armed.due.0);
        let Some(late) = late else {
            return schedule(&kernel, &process, self.which, when);
        };
        let again = late.checked_div(armed.interval.0);
        let count = 1 + again.unwrap_or(0);
        if again.is_some() {
            when.due.0 += count * armed.interval.0;
            schedule(&kernel, &process, self.which, when);
        }
        notify(&process, self.which, count);
    }
}

/// Sends the signal of a timer that has expired `count` times.
fn notify<M: UserMachine>(process: &Arc<Process<M>>, which: Which, count: u64) {
    let id = match which {
        Which::Interval(index) => {
            let signal = [Signal::ALRM, Signal::VTALRM, Signal::PROF][index.min(2)];
            return process.send(SigInfo::kernel(signal));
        }
        Which::Posix(id) => id,
    };
    let (signal, task, value) = match process.timers.lock().posix.get(&id) {
        None => return,
        Some(timer) => match &timer.notify {
            Notify::Nothing => return,
            Notify::Process(signal) => (*signal, None, timer.value),
            Notify::Task(signal, task) => match task.upgrade() {
                Some(task) => (*signal, Some(task), timer.value),
                None => return,
            },
        },
    };

    // A notice that nobody has taken yet stands for these expirations as well.
    {
        let mut group = process.group.lock();
        let more = |info: &mut SigInfo| {
            *info = SigInfo::timer(signal, id as u32, info.uid().saturating_add(count as u32), value);
        };
        let merged = match &task {
            Some(task) => task.signals.lock().pending.timer_notice(id).map(more),
            None => group.pending.timer_notice(id).map(more),
        };
        if merged.is_some() {
            return;
        }
    }
    let info = SigInfo::timer(signal, id as u32, (count - 1) as u32, value);
    match &task {
        Some(task) => process.post(Target::Task(task), info),
        None => process.post(Target::Process, info),
    }
}
