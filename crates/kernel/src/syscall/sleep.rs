//! Reading clocks, and sleeping.

use alloc::boxed::Box;

use foliant_platform::Nanos;
use foliant_uapi::Sysno;
use foliant_uapi::time::{ClockId, TimerFlags, Timespec, Timeval, Timezone};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler, Restart};
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::pid::Pid;
use crate::timer::Clock;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::CLOCK_GETTIME => clock_gettime,
        Sysno::CLOCK_GETRES => clock_getres,
        Sysno::CLOCK_SETTIME => clock_settime,
        Sysno::CLOCK_NANOSLEEP => clock_nanosleep,
        Sysno::NANOSLEEP => nanosleep,
        Sysno::GETTIMEOFDAY => gettimeofday,
        Sysno::SETTIMEOFDAY => |_| Err(Fail::Errno(Errno::PERM)),
        Sysno::TIME => time,
        _ => return None,
    })
}

/// What a clock number shows now.
pub(super) fn read_clock<M: UserMachine>(ctx: &Ctx<'_, M>, raw: i32) -> Result<Nanos, Errno> {
    if raw < 0 {
        return cpu_clock(ctx, raw);
    }
    let id = ClockId::from_raw(raw).ok_or(Errno::INVAL)?;
    match id {
        ClockId::ThreadCpu => {
            let times = ctx.kernel.machine().cpu_times(ctx.task.thread());
            Ok(Nanos(times.user.0 + times.system.0))
        }
        // International atomic time is told without leap seconds where nobody has set them.
        _ => Ok(ctx.kernel.clock(Clock::of(id), ctx.task.process())),
    }
}

/// The CPU clock of a process or task, whose number is in the upper bits.
fn cpu_clock<M: UserMachine>(ctx: &Ctx<'_, M>, raw: i32) -> Result<Nanos, Errno> {
    let pid = Pid::new(!(raw >> 3));
    let (per_task, kind) = (raw & 4 != 0, raw & 3);
    if kind == 3 {
        return Err(Errno::INVAL);
    }
    let task = super::ctx::task_or_self(ctx, pid).map_err(|_| Errno::INVAL)?;
    let times = if per_task {
        ctx.kernel.machine().cpu_times(task.thread())
    } else {
        ctx.kernel.process_usage(task.process()).times
    };
    Ok(Nanos(if kind == 1 {
        times.user.0
    } else {
        times.user.0 + times.system.0
    }))
}

/// `clock_gettime(clock, time)`
fn clock_gettime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let now = read_clock(ctx, ctx.int(0))?;
    ctx.kernel.refresh_vdso();
    ctx.write(ctx.args[1], &Timespec::from_nanos(now.0))?;
    Ok(0)
}

/// `clock_getres(clock, resolution)`
fn clock_getres<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_clock(ctx, ctx.int(0))?;
    let coarse = matches!(
        ClockId::from_raw(ctx.int(0)),
        Some(ClockId::RealtimeCoarse | ClockId::MonotonicCoarse)
    );
    let nanos = if coarse { 4_000_000 } else { 1 };
    ctx.write_opt(ctx.args[1], &Timespec::from_nanos(nanos))?;
    Ok(0)
}

/// The machine's clocks are the host's, which is not to be set from here.
fn clock_settime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Err(Fail::Errno(if ctx.int(0) == ClockId::Realtime as i32 {
        Errno::PERM
    } else {
        Errno::INVAL
    }))
}

/// `gettimeofday(time, zone)`
fn gettimeofday<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let now = ctx.kernel.machine().realtime();
    ctx.kernel.refresh_vdso();
    ctx.write_opt(ctx.args[0], &Timeval::from_nanos(now.0))?;
    ctx.write_opt(ctx.args[1], &Timezone::default())?;
    Ok(0)
}

/// `time(where)`
fn time<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let seconds = ctx.kernel.machine().realtime().0 / 1_000_000_000;
    ctx.kernel.refresh_vdso();
    ctx.write_opt(ctx.args[0], &seconds)?;
    Ok(seconds)
}

/// `nanosleep(time, left)`
fn nanosleep<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let time: Timespec = ctx.read(ctx.args[0])?;
    let nanos = time.to_nanos().ok_or(Errno::INVAL)?;
    let until = Nanos(ctx.task.parker().now().0.saturating_add(nanos));
    sleep_relative(ctx, until, ctx.args[1])
}

/// `clock_nanosleep(clock, flags, time, left)`
fn clock_nanosleep<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let id = ClockId::from_raw(ctx.int(0)).ok_or(Errno::INVAL)?;
    match id {
        ClockId::ThreadCpu => return Err(Fail::Errno(Errno::INVAL)),
        ClockId::MonotonicRaw | ClockId::RealtimeCoarse | ClockId::MonotonicCoarse => {
            return Err(Fail::Errno(Errno::OPNOTSUPP));
        }
        _ => {}
    }
    let time: Timespec = ctx.read(ctx.args[2])?;
    let nanos = time.to_nanos().ok_or(Errno::INVAL)?;
    let absolute = TimerFlags::from_bits_retain(ctx.uint(1)).contains(TimerFlags::ABSTIME);
    let now = ctx.task.parker().now();
    let clock = Clock::of(id);
    if clock.is_cpu() {
        // Only a wait for others' work could end it.
        return Err(Fail::Errno(Errno::OPNOTSUPP));
    }
    if !absolute {
        return sleep_relative(ctx, Nanos(now.0.saturating_add(nanos)), ctx.args[3]);
    }
    let until = if clock == Clock::Real {
        ctx.kernel.monotonic_of(Nanos(nanos))
    } else {
        Nanos(nanos)
    };
    match sleep(ctx, until) {
        Ok(()) => Ok(0),
        Err(()) => Err(Fail::Restart(Restart::NoHand)),
    }
}

/// Sleeps; `Err` if a signal came first.
fn sleep<M: UserMachine>(ctx: &Ctx<'_, M>, until: Nanos) -> Result<(), ()> {
    match ctx
        .task
        .parker()
        .park(Interrupt::BySignal, Some(until), || None::<()>)
    {
        Ok(()) | Err(WaitError::Timeout) => Ok(()),
        Err(WaitError::Signal) => Err(()),
    }
}

/// Sleeps; a handler that ends it finds the rest in `left`, and a stop does
/// not make it longer.
fn sleep_relative<M: UserMachine>(ctx: &Ctx<'_, M>, until: Nanos, left: u64) -> Answer<M> {
    if sleep(ctx, until).is_ok() {
        return Ok(0);
    }
    let rest = until.0.saturating_sub(ctx.task.parker().now().0);
    if rest == 0 {
        return Ok(0);
    }
    ctx.write_opt(left, &Timespec::from_nanos(rest))?;
    Err(Fail::Restart(Restart::Block(Box::new(move |ctx| {
        sleep_relative(ctx, until, left)
    }))))
}
