//! Making and ending tasks.

use foliant_uapi::Sysno;
use foliant_uapi::clone::{CloneArgs, CloneFlags};
use foliant_uapi::signal::Signal;
use foliant_units::{Errno, VirtAddr};

use super::{Answer, Ctx, Fail, Handler};
use crate::clone::{Request, clone, wait_for_vfork};
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
        _ => return None,
    })
}

fn run<M: UserMachine>(ctx: &mut Ctx<'_, M>, request: &Request) -> Answer<M> {
    let child = clone(ctx, request)?;
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
    if flags.contains(CloneFlags::PIDFD) {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let exit_signal = Signal::from_raw((word & 0xff) as i32);
    run(
        ctx,
        &Request {
            flags,
            exit_signal,
            stack,
            parent_tid,
            child_tid,
            tls,
            set_tid: None,
        },
    )
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
    if flags.contains(CloneFlags::PIDFD) {
        // A descriptor for a process needs what is not there yet.
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
    run(ctx, &request)
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
