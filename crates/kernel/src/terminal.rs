//! Whose a terminal is: its session, its foreground, and what becomes of
//! those in the background who touch it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::SigInfo;
use foliant_uapi::io::ioctl as cmd;
use foliant_uapi::signal::Signal;
use foliant_units::Errno;

use crate::fs::File;
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::pid::{Pid, Session};
use crate::process::Process;
use crate::syscall::{Answer, Ctx, Fail, Restart};
use crate::task::Task;

/// `/dev/tty`: whatever the caller's controlling terminal is.
const OWN_TERMINAL: u64 = 5 << 8;
/// The settings of old, which change like the others.
const OLD_SETTERS: [u32; 6] = [0x5406, 0x5407, 0x5408, 0x402c_542b, 0x402c_542c, 0x402c_542d];
const SETTERS: [u32; 6] = [
    cmd::TCSETS,
    cmd::TCSETSW,
    cmd::TCSETSF,
    cmd::TCSBRK,
    cmd::TCXONC,
    cmd::TCFLSH,
];

/// The caller among those who share a terminal.
struct Place {
    process: Pid,
    group: Pid,
    session: Pid,
    state: Session,
}

/// Answers the commands that are about job control, and holds back others from
/// the background; `None` leaves the command to the terminal.
pub(crate) fn ioctl<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>) -> Option<Answer<M>> {
    let command = ctx.uint(1);
    match command {
        cmd::TIOCGPGRP => Some(get(ctx, file, |place| {
            place.state.foreground.unwrap_or(Pid::NONE)
        })),
        cmd::TIOCGSID => Some(get(ctx, file, |place| place.session)),
        cmd::TIOCSPGRP => Some(set_foreground(ctx, file)),
        cmd::TIOCSCTTY => Some(take(ctx, file)),
        cmd::TIOCNOTTY => Some(give_up(ctx, file)),
        _ if SETTERS.contains(&command) || OLD_SETTERS.contains(&command) => {
            may_touch(ctx.kernel, ctx.task, file, Signal::TTOU).err().map(Err)
        }
        _ => None,
    }
}

/// Whether the task may read from (`TTIN`) or change (`TTOU`) a file, if that
/// is its controlling terminal.
///
/// # Errors
/// A restart, once the background group has got the signal; `IO` where it
/// could not be stopped.
///
/// # Linux source concept
/// `__tty_check_change()`.
pub(crate) fn may_touch<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    file: &dyn File<M>,
    signal: Signal,
) -> Result<(), Fail<M>> {
    let Some(place) = place(kernel, task).filter(|place| controls(place, file)) else {
        return Ok(());
    };
    if place
        .state
        .foreground
        .is_none_or(|foreground| foreground == place.group)
    {
        return Ok(());
    }
    let deaf = task.blocked().contains(signal) || task.process().actions().lock().ignores(signal);
    if deaf {
        return if signal == Signal::TTIN {
            Err(Fail::Errno(Errno::IO))
        } else {
            Ok(())
        };
    }
    let members: Vec<Arc<Process<M>>> = {
        let tree = kernel.tree();
        if tree.is_orphaned(place.group, None) {
            return Err(Fail::Errno(Errno::IO));
        }
        tree.group(place.group).map(|node| node.process.clone()).collect()
    };
    for member in members {
        member.send(SigInfo::kernel(signal));
    }
    Err(Fail::Restart(Restart::Sys))
}

fn place<M: UserMachine>(kernel: &Kernel<M>, task: &Task<M>) -> Option<Place> {
    let tree = kernel.tree();
    let node = tree.node(task.process().id())?;
    let state = *tree.session(node.session)?;
    Some(Place {
        process: task.process().id(),
        group: node.group,
        session: node.session,
        state,
    })
}

/// Whether `file` is the controlling terminal of the caller's session.
fn controls<M: UserMachine>(place: &Place, file: &dyn File<M>) -> bool {
    let device = device(file);
    place.state.has_terminal && (device == place.state.device || device == OWN_TERMINAL)
}

/// The number of a terminal; 0 if it has none.
pub(crate) fn device<M: UserMachine>(file: &dyn File<M>) -> u64 {
    file.stat().map_or(0, |stat| stat.rdev)
}

fn own_place<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>) -> Result<Place, Errno> {
    place(ctx.kernel, ctx.task)
        .filter(|place| controls(place, file))
        .ok_or(Errno::NOTTY)
}

fn get<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>, what: fn(&Place) -> Pid) -> Answer<M> {
    let place = own_place(ctx, file)?;
    ctx.write(ctx.args[2], &what(&place).raw())?;
    Ok(0)
}

/// # Linux source concept
/// `tiocspgrp()`.
fn set_foreground<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>) -> Answer<M> {
    may_touch(ctx.kernel, ctx.task, file, Signal::TTOU)?;
    let place = own_place(ctx, file)?;
    let group: i32 = ctx.read(ctx.args[2])?;
    if group < 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let group = Pid::new(group);
    let mut tree = ctx.kernel.tree();
    let session = tree
        .group(group)
        .next()
        .map(|node| node.session)
        .ok_or(Errno::SRCH)?;
    if session != place.session {
        return Err(Fail::Errno(Errno::PERM));
    }
    tree.session_mut(place.session).foreground = Some(group);
    Ok(0)
}

/// A session's leader without a terminal takes this one.
///
/// # Linux source concept
/// `tiocsctty()`.
fn take<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>) -> Answer<M> {
    let place = place(ctx.kernel, ctx.task).ok_or(Errno::SRCH)?;
    if place.process != place.session || place.state.has_terminal {
        let has_it = place.process == place.session && controls(&place, file);
        return if has_it {
            Ok(0)
        } else {
            Err(Fail::Errno(Errno::PERM))
        };
    }
    let state = Session {
        foreground: Some(place.group),
        has_terminal: true,
        device: device(file),
    };
    *ctx.kernel.tree().session_mut(place.session) = state;
    Ok(0)
}

/// # Linux source concept
/// `disassociate_ctty()`. Differs: only a leader gives up, for all.
fn give_up<M: UserMachine>(ctx: &Ctx<'_, M>, file: &dyn File<M>) -> Answer<M> {
    let place = own_place(ctx, file)?;
    if place.process != place.session {
        return Ok(0);
    }
    let members: Vec<Arc<Process<M>>> = {
        let mut tree = ctx.kernel.tree();
        *tree.session_mut(place.session) = Session::default();
        let foreground = place.state.foreground.unwrap_or(Pid::NONE);
        tree.group(foreground).map(|node| node.process.clone()).collect()
    };
    for member in members {
        member.send(SigInfo::kernel(Signal::HUP));
        member.send(SigInfo::kernel(Signal::CONT));
    }
    Ok(0)
}
