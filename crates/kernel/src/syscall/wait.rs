//! Waiting for children.

use foliant_uapi::SigInfo;
use foliant_uapi::Sysno;
use foliant_uapi::clone::{WaitIdType, WaitOptions};
use foliant_uapi::resource::Rusage;
use foliant_uapi::signal::Signal;
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::exit::end_code;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::pid::{Node, Pid, Tree};
use crate::wait::{Usage, WaitStatus};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::WAIT4 => wait4,
        Sysno::WAITID => waitid,
        _ => return None,
    })
}

/// Which children.
#[derive(Clone, Copy)]
enum Whom {
    Any,
    Child(Pid),
    Group(Pid),
}

/// What was found.
struct Found {
    child: Pid,
    uid: u32,
    status: WaitStatus,
    usage: Usage,
}

/// `wait4(pid, status, options, rusage)`
fn wait4<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let options = WaitOptions::from_bits_retain(ctx.uint(2));
    let allowed = WaitOptions::NOHANG
        | WaitOptions::UNTRACED
        | WaitOptions::CONTINUED
        | WaitOptions::NOTHREAD
        | WaitOptions::ALL
        | WaitOptions::CLONE;
    if !allowed.contains(options) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let whom = match ctx.int(0) {
        i32::MIN => return Err(Fail::Errno(Errno::SRCH)),
        -1 => Whom::Any,
        0 => Whom::Group(own_group(ctx)),
        group if group < 0 => Whom::Group(Pid::new(-group)),
        pid => Whom::Child(Pid::new(pid)),
    };
    let Some(found) = find(ctx, whom, options | WaitOptions::EXITED)? else {
        return Ok(0);
    };
    ctx.write_opt(ctx.args[1], &found.status.to_raw())?;
    ctx.write_opt(ctx.args[3], &rusage(&found.usage))?;
    Ok(found.child.raw() as u64)
}

/// `waitid(type, id, siginfo, options, rusage)`
fn waitid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let options = WaitOptions::from_bits_retain(ctx.uint(3));
    let events = WaitOptions::EXITED | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
    if !WaitOptions::all().contains(options) || !options.intersects(events) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let id = ctx.int(1);
    let whom = match WaitIdType::from_raw(ctx.uint(0)).ok_or(Errno::INVAL)? {
        WaitIdType::All => Whom::Any,
        WaitIdType::Pid if id > 0 => Whom::Child(Pid::new(id)),
        WaitIdType::Pgid if id == 0 => Whom::Group(own_group(ctx)),
        WaitIdType::Pgid if id > 0 => Whom::Group(Pid::new(id)),
        WaitIdType::Pid | WaitIdType::Pgid => return Err(Fail::Errno(Errno::INVAL)),
        WaitIdType::PidFd => Whom::Child(super::pidfd::process_of(ctx, id)?.id()),
    };
    let found = find(ctx, whom, options)?;
    let mut info = SigInfo::default();
    if let Some(found) = &found {
        let (code, status) = end_code(found.status);
        info = SigInfo::child(code, found.child.raw() as u32, found.uid, status, 0, 0);
        ctx.write_opt(ctx.args[4], &rusage(&found.usage))?;
    }
    if ctx.args[2] != 0 {
        // Only these fields are written; the rest of the structure stays as it is.
        let head = [info.signo, info.errno, info.code];
        let tail = [info.pid() as i32, info.uid() as i32, info.status()];
        ctx.write(ctx.args[2], &head)?;
        ctx.write(ctx.args[2].wrapping_add(16), &tail)?;
    }
    Ok(0)
}

fn own_group<M: UserMachine>(ctx: &Ctx<'_, M>) -> Pid {
    ctx.kernel
        .tree()
        .node(ctx.task.process().id())
        .map_or(Pid::NONE, |node| node.group)
}

/// Waits for something to tell; `None` if there is nothing and the caller does
/// not want to wait.
fn find<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    whom: Whom,
    options: WaitOptions,
) -> Result<Option<Found>, Fail<M>> {
    let own = ctx.task.process();
    let mut look = || {
        let mut tree = ctx.kernel.tree();
        match look_once(&mut tree, own.id(), whom, options) {
            Look::Found(found) => Some(Ok(Some(found))),
            Look::NoChild => Some(Err(Errno::CHILD)),
            Look::Nothing if options.contains(WaitOptions::NOHANG) => Some(Ok(None)),
            Look::Nothing => None,
        }
    };
    match own
        .child_events
        .wait(ctx.task.parker(), Interrupt::BySignal, None, &mut look)
    {
        Ok(Ok(found)) => {
            if let Some(found) = &found
                && matches!(found.status, WaitStatus::Exited(_) | WaitStatus::Killed(..))
                && !options.contains(WaitOptions::NOWAIT)
            {
                own.usage.lock().children.add(&found.usage);
            }
            Ok(found)
        }
        Ok(Err(errno)) => Err(Fail::Errno(errno)),
        Err(error @ (WaitError::Signal | WaitError::Timeout)) => Err(error.into()),
    }
}

enum Look {
    Found(Found),
    Nothing,
    NoChild,
}

fn look_once<M: UserMachine>(tree: &mut Tree<M>, own: Pid, whom: Whom, options: WaitOptions) -> Look {
    let Some(children) = tree.node(own).map(|node| node.children.clone()) else {
        return Look::NoChild;
    };
    let keep = options.contains(WaitOptions::NOWAIT);
    let mut any = false;
    for child in children {
        let Some(node) = tree.node_mut(child) else {
            continue;
        };
        if !matches(node, child, whom, options) {
            continue;
        }
        any = true;
        let Some((status, usage)) = event(node, options, keep) else {
            continue;
        };
        let uid = node.process.any_task().map_or(0, |task| task.creds().uid.real);
        if !keep && matches!(status, WaitStatus::Exited(_) | WaitStatus::Killed(..)) {
            tree.reap(child);
        }
        return Look::Found(Found {
            child,
            uid,
            status,
            usage,
        });
    }
    if any { Look::Nothing } else { Look::NoChild }
}

fn matches<M: UserMachine>(node: &Node<M>, child: Pid, whom: Whom, options: WaitOptions) -> bool {
    let chosen = match whom {
        Whom::Any => true,
        Whom::Child(pid) => pid == child,
        Whom::Group(group) => node.group == group,
    };
    let silent = node.exit_signal != Some(Signal::CHLD);
    chosen && (options.contains(WaitOptions::ALL) || silent == options.contains(WaitOptions::CLONE))
}

/// Something of this child to tell.
fn event<M: UserMachine>(
    node: &mut Node<M>,
    options: WaitOptions,
    keep: bool,
) -> Option<(WaitStatus, Usage)> {
    if let Some(ended) = node.ended.filter(|_| options.contains(WaitOptions::EXITED)) {
        let mut usage = ended.usage;
        usage.add(&ended.children);
        return Some((ended.status, usage));
    }
    if let Some(signal) = node.stopped.filter(|_| options.contains(WaitOptions::UNTRACED)) {
        if !keep {
            node.stopped = None;
        }
        return Some((WaitStatus::Stopped(signal), Usage::default()));
    }
    if node.continued && options.contains(WaitOptions::CONTINUED) {
        node.continued = keep;
        return Some((WaitStatus::Continued, Usage::default()));
    }
    None
}

pub(super) fn rusage(usage: &Usage) -> Rusage {
    use foliant_uapi::time::Timeval;
    Rusage {
        utime: Timeval::from_nanos(usage.times.user.0),
        stime: Timeval::from_nanos(usage.times.system.0),
        maxrss: usage.max_rss_kib as i64,
        minflt: usage.minor_faults as i64,
        majflt: usage.major_faults as i64,
        ..Rusage::default()
    }
}
