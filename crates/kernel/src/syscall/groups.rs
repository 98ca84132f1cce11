//! Who one is: process, parent, group, session.

use foliant_uapi::Sysno;
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::machine::UserMachine;
use crate::pid::Pid;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::GETPID => getpid,
        Sysno::GETTID => gettid,
        Sysno::GETPPID => getppid,
        Sysno::GETPGRP => getpgrp,
        Sysno::GETPGID => getpgid,
        Sysno::SETPGID => setpgid,
        Sysno::GETSID => getsid,
        Sysno::SETSID => setsid,
        _ => return None,
    })
}

fn answer<M: UserMachine>(pid: Pid) -> Answer<M> {
    Ok(pid.raw() as u64)
}

fn getpid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    answer(ctx.task.process().id())
}

fn gettid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    answer(ctx.task.tid())
}

fn getppid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let tree = ctx.kernel.tree();
    answer(
        tree.node(ctx.task.process().id())
            .map_or(Pid::NONE, |node| node.parent),
    )
}

/// Group and session of process `pid`; 0 is the caller's.
fn group_and_session<M: UserMachine>(ctx: &Ctx<'_, M>, pid: Pid) -> Result<(Pid, Pid), Errno> {
    let pid = if pid == Pid::NONE {
        ctx.task.process().id()
    } else {
        pid
    };
    let tree = ctx.kernel.tree();
    // A task's number names its process as well.
    let process = tree.task(pid).map_or(pid, |task| task.process().id());
    tree.node(process)
        .map(|node| (node.group, node.session))
        .ok_or(Errno::SRCH)
}

fn getpgrp<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    answer(group_and_session(ctx, Pid::NONE)?.0)
}

fn getpgid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    answer(group_and_session(ctx, ctx.pid(0))?.0)
}

fn getsid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    answer(group_and_session(ctx, ctx.pid(0))?.1)
}

/// `setpgid(pid, group)`
fn setpgid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let own = ctx.task.process().id();
    let pid = if ctx.pid(0) == Pid::NONE { own } else { ctx.pid(0) };
    let group = if ctx.pid(1) == Pid::NONE { pid } else { ctx.pid(1) };
    if group.raw() < 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }

    let mut tree = ctx.kernel.tree();
    let own_session = tree.node(own).ok_or(Errno::SRCH)?.session;
    let node = tree.node(pid).ok_or(Errno::SRCH)?;
    let session = node.session;
    if pid != own {
        if node.parent != own {
            return Err(Fail::Errno(Errno::SRCH));
        }
        if session != own_session {
            return Err(Fail::Errno(Errno::PERM));
        }
        if node.has_execed {
            return Err(Fail::Errno(Errno::ACCES));
        }
    }
    if session == pid {
        // The leader of a session stays in its own group.
        return Err(Fail::Errno(Errno::PERM));
    }
    if group != pid && !tree.group(group).any(|other| other.session == own_session) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if let Some(node) = tree.node_mut(pid) {
        node.group = group;
    }
    Ok(0)
}

/// `setsid()`
fn setsid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let own = ctx.task.process().id();
    let mut tree = ctx.kernel.tree();
    let is_leader = tree.node(own).is_some_and(|node| node.session == own);
    if is_leader || tree.group(own).next().is_some() {
        return Err(Fail::Errno(Errno::PERM));
    }
    if let Some(node) = tree.node_mut(own) {
        node.session = own;
        node.group = own;
    }
    tree.session_mut(own);
    answer(own)
}
