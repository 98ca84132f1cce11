//! Processes by descriptor.

use alloc::sync::Arc;

use foliant_uapi::Sysno;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::signal::{SiCode, SigInfo, Signal};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::fd::Fd;
use crate::machine::UserMachine;
use crate::pidfd::PidFd;
use crate::process::Process;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::PIDFD_OPEN => pidfd_open,
        Sysno::PIDFD_SEND_SIGNAL => pidfd_send_signal,
        _ => return None,
    })
}

/// The process behind a descriptor.
///
/// # Errors
/// `BADF` if it is no such descriptor.
pub(super) fn process_of<M: UserMachine>(ctx: &Ctx<'_, M>, fd: i32) -> Result<Arc<Process<M>>, Errno> {
    let open = ctx.task.files().table().get(Fd::new(fd)?)?;
    let pidfd = open.downcast::<PidFd<M>>().ok_or(Errno::BADF)?;
    Ok(pidfd.process().clone())
}

/// A new descriptor for `process`, closed on `execve`.
///
/// # Errors
/// `MFILE`.
pub(super) fn install<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    process: &Arc<Process<M>>,
    flags: OpenFlags,
) -> Result<u64, Errno> {
    let file = Arc::new(PidFd::new(process.clone()));
    ctx.install(file, flags | OpenFlags::RDWR | OpenFlags::CLOEXEC)
}

/// `pidfd_open(pid, flags)`
fn pidfd_open<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::from_bits_retain(ctx.uint(1));
    if !OpenFlags::NONBLOCK.contains(flags) || ctx.int(0) <= 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let process = {
        let tree = ctx.kernel.tree();
        match tree.node(ctx.pid(0)) {
            Some(node) => node.process.clone(),
            // A task that leads no process has no such descriptor.
            None if tree.task(ctx.pid(0)).is_some() => return Err(Fail::Errno(Errno::INVAL)),
            None => return Err(Fail::Errno(Errno::SRCH)),
        }
    };
    Ok(install(ctx, &process, flags)?)
}

/// `pidfd_send_signal(fd, signal, info, flags)`
fn pidfd_send_signal<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.args[3] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let target = process_of(ctx, ctx.int(0))?;
    let which = match ctx.int(1) {
        0 => None,
        raw => Some(Signal::from_raw(raw).ok_or(Errno::INVAL)?),
    };
    let own = ctx.task.process().id();
    let info = match ctx.read_opt::<SigInfo>(ctx.args[2])? {
        Some(info) if info.signo != ctx.int(1) => return Err(Fail::Errno(Errno::INVAL)),
        Some(info) if (info.code >= 0 || info.code == SiCode::TKILL.0) && target.id() != own => {
            return Err(Fail::Errno(Errno::PERM));
        }
        Some(info) => Some(info),
        None => which
            .map(|signal| SigInfo::sent(signal, SiCode::USER, own.raw() as u32, ctx.task.creds().uid.real)),
    };
    let Some(task) = target.any_task() else {
        return Err(Fail::Errno(Errno::SRCH));
    };
    if target.id() != own && !ctx.task.creds().may_signal(&task.creds()) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if let (Some(_), Some(info)) = (which, info) {
        target.send(info);
    }
    Ok(0)
}
