//! Sending signals to others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::SigInfo;
use foliant_uapi::Sysno;
use foliant_uapi::signal::{SiCode, Signal};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::process::Process;
use crate::task::Task;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::KILL => kill,
        Sysno::TKILL => tkill,
        Sysno::TGKILL => tgkill,
        Sysno::RT_SIGQUEUEINFO => rt_sigqueueinfo,
        Sysno::RT_TGSIGQUEUEINFO => rt_tgsigqueueinfo,
        _ => return None,
    })
}

/// A signal number; `None` only asks whether one may send.
fn signal<M: UserMachine>(raw: i32) -> Result<Option<Signal>, Fail<M>> {
    match raw {
        0 => Ok(None),
        raw => Signal::from_raw(raw).map(Some).ok_or(Fail::Errno(Errno::INVAL)),
    }
}

fn sent<M: UserMachine>(ctx: &Ctx<'_, M>, signal: Signal, code: SiCode) -> SigInfo {
    let uid = ctx.task.creds().uid.real;
    SigInfo::sent(signal, code, ctx.task.process().id().raw() as u32, uid)
}

/// Whether the caller may send `signal` to the process of `target`.
fn may_signal<M: UserMachine>(ctx: &Ctx<'_, M>, target: &Process<M>, signal: Option<Signal>) -> bool {
    let Some(task) = target.any_task() else {
        return true;
    };
    if ctx.task.creds().may_signal(&task.creds()) || task.process().id() == ctx.task.process().id() {
        return true;
    }
    let tree = ctx.kernel.tree();
    let session = |pid| tree.node(pid).map(|node| node.session);
    signal == Some(Signal::CONT) && session(ctx.task.process().id()) == session(target.id())
}

/// `kill(pid, signal)`
fn kill<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let which = signal(ctx.int(1))?;
    let own = ctx.task.process().id();
    let targets: Vec<Arc<Process<M>>> = {
        let tree = ctx.kernel.tree();
        match ctx.int(0) {
            i32::MIN => return Err(Fail::Errno(Errno::SRCH)),
            -1 => tree
                .nodes()
                .filter(|(pid, _)| *pid != own && *pid != Pid::INIT)
                .map(|(_, node)| node.process.clone())
                .collect(),
            pid if pid > 0 => {
                let pid = tree
                    .task(Pid::new(pid))
                    .map_or(Pid::new(pid), |task| task.process().id());
                tree.node(pid)
                    .map(|node| node.process.clone())
                    .into_iter()
                    .collect()
            }
            group => {
                let own_group = tree.node(own).map_or(Pid::NONE, |node| node.group);
                let group = if group == 0 { own_group } else { Pid::new(-group) };
                tree.group(group).map(|node| node.process.clone()).collect()
            }
        }
    };
    if targets.is_empty() {
        return Err(Fail::Errno(Errno::SRCH));
    }

    let (mut reached, mut refused) = (false, false);
    for target in &targets {
        if !may_signal(ctx, target, which) {
            refused = true;
            continue;
        }
        reached = true;
        if let Some(signal) = which {
            target.send(sent(ctx, signal, SiCode::USER));
        }
    }
    if refused && !reached {
        Err(Fail::Errno(Errno::PERM))
    } else {
        Ok(0)
    }
}

/// The task `tid`, if it belongs to process `tgid` (any, where that is `None`).
fn task_of<M: UserMachine>(ctx: &Ctx<'_, M>, tgid: Option<i32>, tid: i32) -> Result<Arc<Task<M>>, Fail<M>> {
    if tid <= 0 || tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let task = ctx
        .kernel
        .tree()
        .task(Pid::new(tid))
        .cloned()
        .ok_or(Errno::SRCH)?;
    let belongs = tgid.is_none_or(|tgid| task.process().id() == Pid::new(tgid));
    if belongs {
        Ok(task)
    } else {
        Err(Fail::Errno(Errno::SRCH))
    }
}

fn send_to_task<M: UserMachine>(ctx: &Ctx<'_, M>, tgid: Option<i32>, tid: i32, raw: i32) -> Answer<M> {
    let target = task_of(ctx, tgid, tid)?;
    let which = signal(raw)?;
    if !may_signal(ctx, target.process(), which) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if let Some(signal) = which {
        target.send(sent(ctx, signal, SiCode::TKILL));
    }
    Ok(0)
}

/// `tkill(tid, signal)`
fn tkill<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    send_to_task(ctx, None, ctx.int(0), ctx.int(1))
}

/// `tgkill(tgid, tid, signal)`
fn tgkill<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    send_to_task(ctx, Some(ctx.int(0)), ctx.int(1), ctx.int(2))
}

/// Information that user code hands in. Only to itself may a process say that
/// the kernel sent it.
fn handed_in<M: UserMachine>(ctx: &Ctx<'_, M>, at: u64, raw: i32, target: Pid) -> Result<SigInfo, Fail<M>> {
    let mut info: SigInfo = ctx.read(at)?;
    info.signo = raw;
    let pretends = info.code >= 0 || info.code == SiCode::TKILL.0;
    if pretends && target != ctx.task.process().id() {
        return Err(Fail::Errno(Errno::PERM));
    }
    Ok(info)
}

/// `rt_sigqueueinfo(pid, signal, info)`
fn rt_sigqueueinfo<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let info = handed_in(ctx, ctx.args[2], ctx.int(1), ctx.pid(0))?;
    let pid = ctx.pid(0);
    let target = ctx
        .kernel
        .tree()
        .node(pid)
        .map(|node| node.process.clone())
        .ok_or(Errno::SRCH)?;
    let which = signal(ctx.int(1))?;
    if !may_signal(ctx, &target, which) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if which.is_some() {
        target.send(info);
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo(tgid, tid, signal, info)`
fn rt_tgsigqueueinfo<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let info = handed_in(ctx, ctx.args[3], ctx.int(2), ctx.pid(0))?;
    let target = task_of(ctx, Some(ctx.int(0)), ctx.int(1))?;
    let which = signal(ctx.int(2))?;
    if !may_signal(ctx, target.process(), which) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if which.is_some() {
        target.send(info);
    }
    Ok(0)
}
