//! Resource limits, and what was used.

use foliant_uapi::Sysno;
use foliant_uapi::resource::{Resource, Rlimit, RusageWho};
use foliant_uapi::time::Tms;
use foliant_units::Errno;

use super::wait::rusage;
use super::{Answer, Ctx, Fail, Handler};
use crate::creds::Capability;
use crate::exec::mm_limits;
use crate::exit::task_usage;
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::process::Process;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::GETRLIMIT => getrlimit,
        Sysno::SETRLIMIT => setrlimit,
        Sysno::PRLIMIT64 => prlimit64,
        Sysno::GETRUSAGE => getrusage,
        Sysno::TIMES => times,
        _ => return None,
    })
}

fn resource<M: UserMachine>(ctx: &Ctx<'_, M>, at: usize) -> Result<Resource, Errno> {
    Resource::from_raw(ctx.uint(at)).ok_or(Errno::INVAL)
}

/// `getrlimit(resource, limit)`
fn getrlimit<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let limit = ctx.task.process().limits.lock().get(resource(ctx, 0)?);
    ctx.write(ctx.args[1], &limit)?;
    Ok(0)
}

/// `setrlimit(resource, limit)`
fn setrlimit<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let limit: Rlimit = ctx.read(ctx.args[1])?;
    set(ctx, ctx.task.process(), resource(ctx, 0)?, limit)
}

/// `prlimit64(pid, resource, new, old)`
fn prlimit64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let new: Option<Rlimit> = ctx.read_opt(ctx.args[2])?;
    let which = resource(ctx, 1)?;
    let target = super::ctx::task_or_self(ctx, ctx.pid(0))?;
    let (own, other) = (ctx.task.creds(), target.creds());
    let same = own.uid.real == other.uid.effective && own.uid.real == other.uid.saved;
    if ctx.pid(0) != Pid::NONE && !same && !own.has(Capability::SysResource) {
        return Err(Fail::Errno(Errno::PERM));
    }
    let old = target.process().limits.lock().get(which);
    if let Some(new) = new {
        set(ctx, target.process(), which, new)?;
    }
    ctx.write_opt(ctx.args[3], &old)?;
    Ok(0)
}

fn set<M: UserMachine>(ctx: &Ctx<'_, M>, process: &Process<M>, which: Resource, limit: Rlimit) -> Answer<M> {
    let privileged = ctx.task.creds().has(Capability::SysResource);
    process.limits.lock().set(which, limit, privileged)?;
    if let Some(task) = process.any_task()
        && let Some(space) = task.space()
    {
        space.set_limits(|limits| *limits = mm_limits(&task));
    }
    Ok(0)
}

/// `getrusage(who, usage)`
fn getrusage<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let process = ctx.task.process();
    let usage = match RusageWho::from_raw(ctx.int(0)).ok_or(Errno::INVAL)? {
        RusageWho::Itself => ctx.kernel.process_usage(process),
        RusageWho::Children => process.usage.lock().children,
        RusageWho::Thread => task_usage(ctx.kernel, ctx.task),
    };
    ctx.write(ctx.args[1], &rusage(&usage))?;
    Ok(0)
}

/// `times(buffer)`
fn times<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const TICK: u64 = 10_000_000;
    let own = ctx.kernel.process_usage(ctx.task.process()).times;
    let children = ctx.task.process().usage.lock().children.times;
    let ticks = |nanos: u64| (nanos / TICK) as i64;
    let tms = Tms {
        utime: ticks(own.user.0),
        stime: ticks(own.system.0),
        cutime: ticks(children.user.0),
        cstime: ticks(children.system.0),
    };
    ctx.write_opt(ctx.args[0], &tms)?;
    Ok(ctx.task.parker().now().0 / TICK)
}
