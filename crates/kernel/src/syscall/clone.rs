//! Making and ending tasks.

use foliant_uapi::Sysno;
use foliant_uapi::clone::{CloneArgs, CloneFlags};
use foliant_uapi::open::OpenFlags;
use foliant_uapi::signal::Signal;
use foliant_units::{Errno, VirtAddr};

use super::{Answer, Ctx, Fail, Handler};
use crate::clone::{NAMESPACES, Request, clone, wait_for_vfork};
use crate::exit;
use crate::machine::UserMachine;
use crate::pid::{PID_MAX, Pid};
use crate::wait::WaitStatus;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::CLONE => sys_clone,
        Sysno::CLONE3 => sys_clone3,
        Sysno::FORK => fork,
        Sysno::VFORK => vfork,
        Sysno::EXIT => sys_exit,
        Sysno::EXIT_GROUP => exit_group,
        Sysno::SET_TID_ADDRESS => set_tid_address,
        Sysno::UNSHARE => unshare,
        Sysno::SETNS => |_| Err(Fail::Errno(Errno::PERM)),
        _ => return None,
    })
}

fn run<M: UserMachine>(ctx: &mut Ctx<'_, M>, request: &Request) -> Answer<M> {
    run_with_pidfd(ctx, request, None)
}

/// Makes the task, and stores a descriptor for it at `pidfd`.
fn run_with_pidfd<M: UserMachine>(ctx: &mut Ctx<'_, M>, request: &Request, pidfd: Option<u64>) -> Answer<M> {
    if let Some(at) = pidfd {
        // Checked first: a child must not run and its number be lost.
        ctx.write(at, &-1i32)?;
    }
    let child = clone(ctx, request)?;
    if let Some(at) = pidfd {
        let fd = super::pidfd::install(ctx, child.process(), OpenFlags::empty())?;
        ctx.write(at, &(fd as i32))?;
    }
    let tid = child.tid();
    let vfork = child.vfork.lock().clone();
    drop(child);
    if let Some(vfork) = vfork {
        wait_for_vfork(ctx, &vfork);
    }
    Ok(tid.raw() as u64)
}

fn fork<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    run(
        ctx,
        &Request {
            exit_signal: Some(Signal::CHLD),
            ..Request::default()
        },
    )
}

fn vfork<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = CloneFlags::VFORK | CloneFlags::VM;
    run(
        ctx,
        &Request {
            flags,
            exit_signal: Some(Signal::CHLD),
            ..Request::default()
        },
    )
}

/// `clone(flags, stack, parent_tid, child_tid, tls)`
fn sys_clone<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let [word, stack, parent_tid, child_tid, tls, _] = ctx.args;
    // The top half is no flag of this call.
    let flags = CloneFlags::from_bits_retain(word & 0xffff_ff00);
    let pidfd = flags.contains(CloneFlags::PIDFD);
    let clashes = CloneFlags::PARENT_SETTID | CloneFlags::DETACHED | CloneFlags::THREAD;
    if pidfd && flags.intersects(clashes) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let request = Request {
        flags,
        exit_signal: Signal::from_raw((word & 0xff) as i32),
        stack,
        parent_tid,
        child_tid,
        tls,
        set_tid: None,
    };
    run_with_pidfd(ctx, &request, pidfd.then_some(parent_tid))
}

/// `clone3(args, size)`
fn sys_clone3<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let args = read_args(ctx)?;
    let flags = CloneFlags::from_bits_retain(args.flags);
    let known = CloneFlags::all().difference(CloneFlags::DETACHED);
    if !known.contains(flags) || flags.contains(CloneFlags::INTO_CGROUP) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    if args.exit_signal > 64 || (args.stack == 0) != (args.stack_size == 0) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let related = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    if related && args.exit_signal != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let pidfd = flags.contains(CloneFlags::PIDFD);
    if pidfd && flags.contains(CloneFlags::THREAD) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let request = Request {
        flags,
        exit_signal: Signal::from_raw(args.exit_signal as i32),
        stack: args.stack.wrapping_add(args.stack_size),
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        tls: args.tls,
        set_tid: wanted_tid(ctx, &args)?,
    };
    run_with_pidfd(ctx, &request, pidfd.then_some(args.pidfd))
}

/// Reads a structure whose size the caller tells: older ones are shorter, and
/// newer ones must be zero where they are longer.
fn read_args<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<CloneArgs, Errno> {
    let size = ctx.args[1] as usize;
    if size > 4096 {
        return Err(Errno::TOOBIG);
    }
    if size < CloneArgs::SIZE_VER0 {
        return Err(Errno::INVAL);
    }
    super::ctx::read_sized(ctx, ctx.args[0], size)
}

fn wanted_tid<M: UserMachine>(ctx: &Ctx<'_, M>, args: &CloneArgs) -> Result<Option<Pid>, Errno> {
    if args.set_tid_size == 0 && args.set_tid == 0 {
        return Ok(None);
    }
    if args.set_tid_size != 1 || args.set_tid == 0 {
        return Err(Errno::INVAL);
    }
    let wanted: i32 = ctx.read(args.set_tid)?;
    if !(1..PID_MAX).contains(&wanted) {
        return Err(Errno::INVAL);
    }
    let pid = Pid::new(wanted);
    if ctx.kernel.tree().is_used(pid) {
        Err(Errno::EXIST)
    } else {
        Ok(Some(pid))
    }
}

/// `exit(status)`: ends this task only.
fn sys_exit<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Err(Fail::Exit(WaitStatus::Exited(ctx.args[0] as u8)))
}

/// `exit_group(status)`
fn exit_group<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let status = WaitStatus::Exited(ctx.args[0] as u8);
    exit::end_process(ctx.task, status);
    Err(Fail::Exit(status))
}

/// `set_tid_address(address)`
fn set_tid_address<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let at = Some(ctx.args[0]).filter(|at| *at != 0).map(VirtAddr::new);
    ctx.task.words.lock().clear_child_tid = at;
    Ok(ctx.task.tid().raw() as u64)
}

/// `unshare(flags)`: what tasks share can be taken apart; namespaces cannot.
fn unshare<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = CloneFlags::from_bits_retain(ctx.args[0]);
    let own = CloneFlags::FILES | CloneFlags::FS | CloneFlags::SYSVSEM;
    let alone = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    if !(own | alone | NAMESPACES).contains(flags) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    if flags.intersects(NAMESPACES) {
        return Err(Fail::Errno(Errno::PERM));
    }
    if flags.intersects(alone) && ctx.task.process().tasks().len() > 1 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    if flags.contains(CloneFlags::FILES) {
        ctx.task.files().unshare_table();
    }
    if flags.contains(CloneFlags::FS) {
        ctx.task.files().unshare_context();
    }
    Ok(0)
}
