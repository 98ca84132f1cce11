//! Interval and POSIX timers.

use alloc::sync::Arc;

use foliant_platform::Nanos;
use foliant_uapi::Sysno;
use foliant_uapi::signal::Signal;
use foliant_uapi::time::{ClockId, Itimer, Itimerspec, Itimerval, SigEvent, TimerFlags, Timespec, Timeval};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::timer::{Clock, Notify, PosixTimer, Setting, Which, arm, disarm, remaining};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::ALARM => alarm,
        Sysno::GETITIMER => getitimer,
        Sysno::SETITIMER => setitimer,
        Sysno::TIMER_CREATE => timer_create,
        Sysno::TIMER_SETTIME => timer_settime,
        Sysno::TIMER_GETTIME => timer_gettime,
        Sysno::TIMER_GETOVERRUN => timer_getoverrun,
        Sysno::TIMER_DELETE => timer_delete,
        _ => return None,
    })
}

/// Sets an interval timer from now on.
fn set_interval<M: UserMachine>(ctx: &Ctx<'_, M>, which: Itimer, setting: Setting) -> Setting {
    let place = Which::Interval(which as usize);
    let process = ctx.task.process();
    if setting.value == 0 {
        return disarm(ctx.kernel, process, place);
    }
    let clock = match which {
        Itimer::Real => Clock::Monotonic,
        Itimer::Virtual => Clock::ProcessUser,
        Itimer::Prof => Clock::ProcessCpu,
    };
    let due = Nanos(ctx.kernel.clock(clock, process).0.saturating_add(setting.value));
    arm(ctx.kernel, process, place, clock, due, Nanos(setting.interval))
}

/// `alarm(seconds)`: answers the seconds that were left, rounded.
fn alarm<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const SECOND: u64 = 1_000_000_000;
    let setting = Setting {
        value: u64::from(ctx.uint(0)) * SECOND,
        interval: 0,
    };
    let left = set_interval(ctx, Itimer::Real, setting).value;
    let rounded = (left + SECOND / 2) / SECOND;
    Ok(if left != 0 { rounded.max(1) } else { 0 })
}

fn itimerval(setting: Setting) -> Itimerval {
    // Rounded up: a timer that runs never shows zero.
    let value = Timeval::from_nanos(setting.value.next_multiple_of(1000));
    Itimerval {
        interval: Timeval::from_nanos(setting.interval),
        value,
    }
}

/// `getitimer(which, value)`
fn getitimer<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let which = Itimer::from_raw(ctx.uint(0)).ok_or(Errno::INVAL)?;
    let setting = remaining(ctx.kernel, ctx.task.process(), Which::Interval(which as usize));
    ctx.write(ctx.args[1], &itimerval(setting))?;
    Ok(0)
}

/// `setitimer(which, new, old)`
fn setitimer<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let new: Itimerval = ctx.read_opt(ctx.args[1])?.unwrap_or_default();
    let which = Itimer::from_raw(ctx.uint(0)).ok_or(Errno::INVAL)?;
    let setting = Setting {
        value: new.value.to_nanos().ok_or(Errno::INVAL)?,
        interval: new.interval.to_nanos().ok_or(Errno::INVAL)?,
    };
    let old = set_interval(ctx, which, setting);
    ctx.write_opt(ctx.args[2], &itimerval(old))?;
    Ok(0)
}

/// `timer_create(clock, event, id)`
fn timer_create<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let clock = match ctx.int(0) {
        raw if raw >= 0 => Clock::of(ClockId::from_raw(raw).ok_or(Errno::INVAL)?),
        raw => {
            super::sleep::read_clock(ctx, raw)?;
            Clock::ProcessCpu
        }
    };
    let event: Option<SigEvent> = ctx.read_opt(ctx.args[1])?;
    let notify = match &event {
        None => Notify::Process(Signal::ALRM),
        Some(event) => notify(ctx, event)?,
    };
    let process = ctx.task.process();
    let timer = PosixTimer {
        clock,
        notify,
        value: event.map_or(0, |event| event.value),
        overrun: 0,
        armed: None,
        interval: Nanos(0),
    };
    let id = process.timers.lock().add(timer);
    if event.is_none()
        && let Some(timer) = process.timers.lock().posix.get_mut(&id)
    {
        // Without an event, the number is the value.
        timer.value = id as u64;
    }
    if let Err(errno) = ctx.write(ctx.args[2], &id) {
        process.timers.lock().posix.remove(&id);
        return Err(Fail::Errno(errno));
    }
    Ok(0)
}

fn notify<M: UserMachine>(ctx: &Ctx<'_, M>, event: &SigEvent) -> Result<Notify<M>, Errno> {
    let signal = Signal::from_raw(event.signo).ok_or(Errno::INVAL);
    match event.notify {
        SigEvent::NONE => Ok(Notify::Nothing),
        SigEvent::SIGNAL | SigEvent::THREAD => signal.map(Notify::Process),
        SigEvent::THREAD_ID => {
            let task = ctx
                .kernel
                .tree()
                .task(Pid::new(event.tid))
                .cloned()
                .ok_or(Errno::INVAL)?;
            if !Arc::ptr_eq(task.process(), ctx.task.process()) {
                return Err(Errno::INVAL);
            }
            signal.map(|signal| Notify::Task(signal, Arc::downgrade(&task)))
        }
        _ => Err(Errno::INVAL),
    }
}

fn itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec {
        interval: Timespec::from_nanos(setting.interval),
        value: Timespec::from_nanos(setting.value),
    }
}

/// `timer_settime(id, flags, new, old)`
fn timer_settime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let new: Itimerspec = ctx.read_opt(ctx.args[2])?.ok_or(Errno::INVAL)?;
    let value = new.value.to_nanos().ok_or(Errno::INVAL)?;
    let interval = new.interval.to_nanos().ok_or(Errno::INVAL)?;
    let absolute = TimerFlags::from_bits_retain(ctx.uint(1)).contains(TimerFlags::ABSTIME);
    let id = ctx.int(0);
    let process = ctx.task.process();
    let (clock, before) = match process.timers.lock().posix.get_mut(&id) {
        None => return Err(Fail::Errno(Errno::INVAL)),
        Some(timer) => (
            timer.clock,
            core::mem::replace(&mut timer.interval, Nanos(interval)),
        ),
    };
    let mut old = if value == 0 {
        disarm(ctx.kernel, process, Which::Posix(id))
    } else {
        let due = if absolute {
            Nanos(value)
        } else {
            Nanos(ctx.kernel.clock(clock, process).0.saturating_add(value))
        };
        arm(ctx.kernel, process, Which::Posix(id), clock, due, Nanos(interval))
    };
    old.interval = before.0;
    ctx.write_opt(ctx.args[3], &itimerspec(old))?;
    Ok(0)
}

/// `timer_gettime(id, value)`
fn timer_gettime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let id = ctx.int(0);
    let process = ctx.task.process();
    let interval = process
        .timers
        .lock()
        .posix
        .get(&id)
        .map(|timer| timer.interval)
        .ok_or(Errno::INVAL)?;
    let mut setting = remaining(ctx.kernel, process, Which::Posix(id));
    setting.interval = interval.0;
    ctx.write(ctx.args[1], &itimerspec(setting))?;
    Ok(0)
}

/// `timer_getoverrun(id)`
fn timer_getoverrun<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let timers = ctx.task.process().timers.lock();
    let timer = timers.posix.get(&ctx.int(0)).ok_or(Errno::INVAL)?;
    Ok(timer.overrun as u64)
}

/// `timer_delete(id)`
fn timer_delete<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let process = ctx.task.process();
    disarm(ctx.kernel, process, Which::Posix(ctx.int(0)));
    let removed = process.timers.lock().posix.remove(&ctx.int(0));
    if removed.is_some() {
        Ok(0)
    } else {
        Err(Fail::Errno(Errno::INVAL))
    }
}
