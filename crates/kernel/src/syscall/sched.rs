//! Scheduling parameters and CPUs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::Sysno;
use foliant_uapi::sched::{SchedAttr, SchedParam};
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::ctx::task_or_self;
use super::{Answer, Ctx, Fail, Handler};
use crate::creds::Capability;
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::sched::all_cpus;
use crate::task::Task;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::SCHED_YIELD => |_| Ok(0),
        Sysno::SCHED_GETAFFINITY => sched_getaffinity,
        Sysno::SCHED_SETAFFINITY => sched_setaffinity,
        Sysno::SCHED_GETSCHEDULER => sched_getscheduler,
        Sysno::SCHED_SETSCHEDULER => sched_setscheduler,
        Sysno::SCHED_GETPARAM => sched_getparam,
        Sysno::SCHED_SETPARAM => sched_setparam,
        Sysno::SCHED_GETATTR => sched_getattr,
        Sysno::SCHED_SETATTR => sched_setattr,
        Sysno::IOPRIO_GET => |_| Ok(0),
        Sysno::IOPRIO_SET => |_| Ok(0),
        Sysno::SCHED_GET_PRIORITY_MAX => |ctx| priority_range(ctx).map(|range| range.1),
        Sysno::SCHED_GET_PRIORITY_MIN => |ctx| priority_range(ctx).map(|range| range.0),
        Sysno::SCHED_RR_GET_INTERVAL => sched_rr_get_interval,
        Sysno::GETPRIORITY => getpriority,
        Sysno::SETPRIORITY => setpriority,
        Sysno::GETCPU => getcpu,
        Sysno::MEMBARRIER => membarrier,
        _ => return None,
    })
}

/// `sched_getaffinity(pid, size, mask)`: answers the bytes of the mask.
fn sched_getaffinity<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let size = ctx.args[1];
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let task = task_or_self(ctx, ctx.pid(0))?;
    let mask = task.sched.lock().affinity & all_cpus(ctx.kernel.machine().cpus());
    ctx.write(ctx.args[2], &mask)?;
    Ok(8)
}

/// `sched_setaffinity(pid, size, mask)`
fn sched_setaffinity<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let mut bytes = [0; 8];
    let len = ctx.args[1].min(8) as usize;
    ctx.read_bytes(ctx.args[2], &mut bytes[..len])?;
    let mask = u64::from_le_bytes(bytes) & all_cpus(ctx.kernel.machine().cpus());
    let task = task_or_self(ctx, ctx.pid(0))?;
    if mask == 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    task.sched.lock().affinity = mask;
    Ok(0)
}

fn target<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Arc<Task<M>>, Fail<M>> {
    if ctx.int(0) < 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    task_or_self(ctx, ctx.pid(0)).map_err(Fail::Errno)
}

fn sched_getscheduler<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let sched = *target(ctx)?.sched.lock();
    Ok(u64::from(
        sched.policy | if sched.reset_on_fork { RESET_ON_FORK } else { 0 },
    ))
}

/// Flag of a policy: children start with the defaults.
const RESET_ON_FORK: u32 = 0x4000_0000;
const REAL_TIME: [u32; 2] = [1, 2];

fn set_policy<M: UserMachine>(ctx: &Ctx<'_, M>, policy: Option<u32>, priority: i32) -> Answer<M> {
    let task = target(ctx)?;
    let now = *task.sched.lock();
    let (policy, reset) = match policy {
        Some(word) => (word & !RESET_ON_FORK, word & RESET_ON_FORK != 0),
        None => (now.policy, now.reset_on_fork),
    };
    let real_time = REAL_TIME.contains(&policy);
    if !matches!(policy, 0..=3 | 5)
        || real_time != (1..=99).contains(&priority)
        || !real_time && priority != 0
    {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let limit = task.process().limit(foliant_uapi::resource::Resource::Rtprio);
    if real_time && priority as u64 > limit && !ctx.task.creds().has(Capability::SysNice) {
        return Err(Fail::Errno(Errno::PERM));
    }
    let mut sched = task.sched.lock();
    sched.policy = policy;
    sched.priority = priority as u32;
    sched.reset_on_fork = reset;
    Ok(0)
}

fn sched_setscheduler<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.int(1) < 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let param: SchedParam = ctx.read(ctx.args[2])?;
    set_policy(ctx, Some(ctx.uint(1)), param.priority)
}

fn sched_setparam<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let param: SchedParam = ctx.read(ctx.args[1])?;
    set_policy(ctx, None, param.priority)
}

fn sched_getparam<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let priority = target(ctx)?.sched.lock().priority as i32;
    ctx.write(ctx.args[1], &SchedParam { priority })?;
    Ok(0)
}

/// `sched_getattr(pid, attr, size, flags)`
fn sched_getattr<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const SMALLEST: u64 = 48;
    if ctx.args[2] < SMALLEST || ctx.args[2] > 4096 || ctx.args[3] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let sched = *target(ctx)?.sched.lock();
    let size = ctx.args[2].min(size_of::<SchedAttr>() as u64) as usize;
    let attr = SchedAttr {
        size: size as u32,
        policy: sched.policy,
        flags: u64::from(sched.reset_on_fork),
        nice: sched.nice,
        priority: sched.priority,
        util_max: 1024,
        ..SchedAttr::default()
    };
    use foliant_uapi::IntoBytes;
    ctx.write_bytes(ctx.args[1], &attr.as_bytes()[..size])?;
    Ok(0)
}

/// `sched_setattr(pid, attr, flags)`
fn sched_setattr<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let size: u32 = ctx.read(ctx.args[1])?;
    let size = if size == 0 { 48 } else { size as usize };
    if !(48..=4096).contains(&size) || ctx.args[2] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let attr: SchedAttr = super::ctx::read_sized(ctx, ctx.args[1], size)?;
    set_policy(ctx, Some(attr.policy), attr.priority as i32)?;
    let task = target(ctx)?;
    let mut sched = task.sched.lock();
    sched.reset_on_fork = attr.flags & 1 != 0;
    sched.nice = attr.nice.clamp(-20, 19);
    Ok(0)
}

fn priority_range<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<(u64, u64), Fail<M>> {
    match ctx.uint(0) {
        1 | 2 => Ok((1, 99)),
        0 | 3 | 5 | 6 => Ok((0, 0)),
        _ => Err(Fail::Errno(Errno::INVAL)),
    }
}

fn sched_rr_get_interval<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const SLICE: u64 = 100_000_000;
    let round_robin = target(ctx)?.sched.lock().policy == 2;
    ctx.write(
        ctx.args[1],
        &Timespec::from_nanos(if round_robin { SLICE } else { 0 }),
    )?;
    Ok(0)
}

/// The tasks that `getpriority` and `setpriority` mean.
fn chosen<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Vec<Arc<Task<M>>>, Fail<M>> {
    let who = ctx.pid(1);
    let tasks: Vec<Arc<Task<M>>> = match ctx.uint(0) {
        0 => task_or_self(ctx, who).into_iter().collect(),
        kind @ (1 | 2) => {
            let tree = ctx.kernel.tree();
            let own = tree
                .node(ctx.task.process().id())
                .map_or(Pid::NONE, |node| node.group);
            let group = if who == Pid::NONE { own } else { who };
            let user = if who == Pid::NONE {
                ctx.task.creds().uid.real
            } else {
                who.raw() as u32
            };
            let wanted = tree.nodes().filter(|(_, node)| kind == 2 || node.group == group);
            wanted
                .flat_map(|(_, node)| node.process.tasks())
                .filter(|task| kind == 1 || task.creds().uid.real == user)
                .collect()
        }
        _ => return Err(Fail::Errno(Errno::INVAL)),
    };
    if tasks.is_empty() {
        Err(Fail::Errno(Errno::SRCH))
    } else {
        Ok(tasks)
    }
}

/// `getpriority(kind, who)`: answers 20 minus the niceness.
fn getpriority<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let best = chosen(ctx)?
        .iter()
        .map(|task| task.sched.lock().nice)
        .min()
        .unwrap_or(0);
    Ok((20 - best) as u64)
}

/// `setpriority(kind, who, nice)`
fn setpriority<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let nice = ctx.int(2).clamp(-20, 19);
    let privileged = ctx.task.creds().has(Capability::SysNice);
    for task in chosen(ctx)? {
        let ceiling = task.process().limit(foliant_uapi::resource::Resource::Nice);
        let mut sched = task.sched.lock();
        if nice < sched.nice && !privileged && (20 - nice) as u64 > ceiling {
            return Err(Fail::Errno(Errno::ACCES));
        }
        sched.nice = nice;
    }
    Ok(0)
}

/// `getcpu(cpu, node)`
fn getcpu<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let cpus = ctx.kernel.machine().cpus().max(1);
    // A worker's CPU stands for the program's; kept inside the affinity.
    let affinity = ctx.task.sched.lock().affinity & all_cpus(cpus);
    let now = ctx.kernel.machine().cpu().0 % cpus;
    let cpu = if affinity >> now & 1 != 0 {
        now
    } else {
        affinity.trailing_zeros() % cpus
    };
    ctx.write_opt(ctx.args[0], &cpu)?;
    ctx.write_opt(ctx.args[1], &0u32)?;
    Ok(0)
}

/// `membarrier(command, flags, cpu)`: every trap of a hosted machine orders
/// more than the call asks for, but the private expedited commands would have
/// to reach tasks that do not trap; they are not offered.
fn membarrier<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const QUERY: u32 = 0;
    if ctx.uint(1) != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    match ctx.uint(0) {
        QUERY => Ok(0),
        _ => Err(Fail::Errno(Errno::INVAL)),
    }
}
