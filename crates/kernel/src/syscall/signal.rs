//! What to do about signals, and waiting for them.

use foliant_platform::Nanos;
use foliant_uapi::Sysno;
use foliant_uapi::signal::{AltStack, DefaultAction, MaskHow, SigAction, SigSet, Signal};
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler, Restart};
use crate::machine::{UserCpu, UserMachine};
use crate::park::Interrupt;
use crate::signal::{reported_stack, set_stack, sigreturn};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::RT_SIGACTION => rt_sigaction,
        Sysno::RT_SIGPROCMASK => rt_sigprocmask,
        Sysno::RT_SIGPENDING => rt_sigpending,
        Sysno::RT_SIGSUSPEND => rt_sigsuspend,
        Sysno::RT_SIGTIMEDWAIT => rt_sigtimedwait,
        Sysno::RT_SIGRETURN => rt_sigreturn,
        Sysno::SIGALTSTACK => sigaltstack,
        Sysno::PAUSE => pause,
        Sysno::RESTART_SYSCALL => restart_syscall,
        _ => return None,
    })
}

/// Sets have eight bytes on x86-64.
fn check_size<M: UserMachine>(size: u64) -> Result<(), Fail<M>> {
    if size == 8 {
        Ok(())
    } else {
        Err(Fail::Errno(Errno::INVAL))
    }
}

/// `rt_sigaction(signal, new, old, size)`
fn rt_sigaction<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    check_size(ctx.args[3])?;
    let new: Option<SigAction> = ctx.read_opt(ctx.args[1])?;
    let signal = Signal::from_raw(ctx.int(0)).ok_or(Errno::INVAL)?;
    if new.is_some() && signal.is_unblockable() {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let old = exchange_action(ctx, signal, new);
    ctx.write_opt(ctx.args[2], &old)?;
    Ok(0)
}

/// Flags that are kept: the others were never asked for, which is how user
/// code finds out that they are unknown.
const KNOWN_FLAGS: u64 = 0xdc00_0c07;

fn exchange_action<M: UserMachine>(ctx: &Ctx<'_, M>, signal: Signal, new: Option<SigAction>) -> SigAction {
    let process = ctx.task.process();
    let mut group = process.group.lock();
    let actions = process.actions();
    let mut actions = actions.lock();
    let old = *actions.get(signal);
    let Some(mut new) = new else { return old };
    new.flags &= KNOWN_FLAGS;
    new.mask = new.mask.difference(SigSet::UNBLOCKABLE);
    *actions.get_mut(signal) = new;

    // What is ignored now is no longer pending either.
    let by_default = new.handler == SigAction::DEFAULT
        && matches!(
            signal.default_action(),
            DefaultAction::Ignore | DefaultAction::Continue
        );
    if new.handler == SigAction::IGNORE || by_default && signal != Signal::CONT {
        group.pending.discard(SigSet::only(signal));
        for task in &group.tasks {
            task.signals.lock().pending.discard(SigSet::only(signal));
        }
    }
    old
}

/// `rt_sigprocmask(how, new, old, size)`
fn rt_sigprocmask<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    check_size(ctx.args[3])?;
    let old = ctx.task.blocked();
    if let Some(set) = ctx.read_opt::<SigSet>(ctx.args[1])? {
        let new = match MaskHow::from_raw(ctx.uint(0)).ok_or(Errno::INVAL)? {
            MaskHow::Block => old.union(set),
            MaskHow::Unblock => old.difference(set),
            MaskHow::Set => set,
        };
        ctx.task.set_blocked(new);
    }
    ctx.write_opt(ctx.args[2], &old)?;
    Ok(0)
}

/// `rt_sigpending(set, size)`
fn rt_sigpending<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.args[1] > 8 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let pending = ctx.task.pending().bits() & ctx.task.blocked().bits();
    ctx.write_bytes(ctx.args[0], &pending.to_le_bytes()[..ctx.args[1] as usize])?;
    Ok(0)
}

/// `rt_sigsuspend(mask, size)`
fn rt_sigsuspend<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    check_size(ctx.args[1])?;
    let mask: SigSet = ctx.read(ctx.args[0])?;
    ctx.task.set_blocked_meanwhile(mask);
    pause(ctx)
}

/// `pause()`
fn pause<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let never = || None::<()>;
    // Nothing but a signal ends it.
    let _ = ctx.task.parker().park(Interrupt::BySignal, None, never);
    Err(Fail::Restart(Restart::NoHand))
}

/// `rt_sigtimedwait(set, info, timeout, size)`
fn rt_sigtimedwait<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    check_size(ctx.args[3])?;
    let wanted: SigSet = ctx.read(ctx.args[0])?;
    let wanted = wanted.difference(SigSet::UNBLOCKABLE);
    let timeout = ctx.read_opt::<Timespec>(ctx.args[2])?;
    let timeout = timeout
        .map(|time| time.to_nanos().ok_or(Errno::INVAL))
        .transpose()?;

    let task = ctx.task;
    let mut taken = task.take_signal(wanted);
    if taken.is_none() && timeout != Some(0) {
        let until = timeout.map(|nanos| Nanos(task.parker().now().0.saturating_add(nanos)));
        // While they are waited for, these signals wake the task but do not kill it.
        let before = task.blocked();
        task.signals.lock().really_blocked = before;
        task.set_blocked(before.difference(wanted));
        let _ = task.parker().park(Interrupt::BySignal, until, || None::<()>);
        taken = {
            let taken = task.take_signal(wanted);
            task.set_blocked(before);
            task.signals.lock().really_blocked = SigSet::EMPTY;
            taken
        };
    }
    match taken {
        Some(info) => {
            ctx.write_opt(ctx.args[1], &info)?;
            Ok(info.signo as u64)
        }
        None if task.parker().interrupted(Interrupt::BySignal) => Err(Fail::Errno(Errno::INTR)),
        None => Err(Fail::Errno(Errno::AGAIN)),
    }
}

/// `rt_sigreturn()`
fn rt_sigreturn<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if sigreturn(ctx.kernel, ctx.task, ctx.cpu).is_err() {
        ctx.task.force(foliant_uapi::SigInfo::kernel(Signal::SEGV));
    }
    Ok(ctx.cpu.regs().rax)
}

/// `sigaltstack(new, old)`
fn sigaltstack<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let new: Option<AltStack> = ctx.read_opt(ctx.args[0])?;
    let sp = ctx.cpu.regs().rsp;
    let old = reported_stack(&ctx.task.signals.lock().stack, sp);
    if let Some(new) = new {
        set_stack(ctx.task, &new, sp)?;
    }
    ctx.write_opt(ctx.args[1], &old)?;
    Ok(0)
}

/// `restart_syscall()`: interrupted calls go on inside the kernel, so nothing
/// is ever left for this one to do.
fn restart_syscall<M: UserMachine>(_ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Err(Fail::Errno(Errno::INTR))
}
