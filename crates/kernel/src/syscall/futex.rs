//! Sleeping on words of user memory.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::Sysno;
use foliant_uapi::futex::{FUTEX_BITSET_MATCH_ANY, FUTEX_CLOCK_REALTIME, FUTEX_PRIVATE, FutexOp, FutexWaitv};
use foliant_uapi::time::Timespec;
use foliant_units::{Errno, VirtAddr};

use super::{Answer, Ctx, Fail, Handler, Restart};
use crate::futex::{self, Sharing, Waited};
use crate::machine::UserMachine;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::FUTEX => sys_futex,
        Sysno::FUTEX_WAITV => futex_waitv,
        Sysno::SET_ROBUST_LIST => set_robust_list,
        Sysno::GET_ROBUST_LIST => get_robust_list,
        _ => return None,
    })
}

/// `futex(address, operation, value, timeout or count, address2, value3)`
fn sys_futex<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let [_, _, _, value2, _, value3] = ctx.args;
    let word = ctx.uint(1);
    let operation = FutexOp::from_raw(word).ok_or(Errno::NOSYS)?;
    let sharing = if word & FUTEX_PRIVATE != 0 {
        Sharing::Private
    } else {
        Sharing::Shared
    };
    check_clock(word, operation)?;

    let (one, two) = ((ctx.addr(0), sharing), ctx.addr(4));
    let value = ctx.uint(2);
    let kernel = ctx.kernel;
    match operation {
        FutexOp::Wait => {
            let until = deadline(ctx, word, false)?;
            wait(ctx, one, value, FUTEX_BITSET_MATCH_ANY, until)
        }
        FutexOp::WaitBitset => {
            let until = deadline(ctx, word, true)?;
            wait(ctx, one, value, value3 as u32, until)
        }
        FutexOp::Wake => Ok(futex::wake(
            kernel,
            &ctx.space()?,
            one,
            value,
            FUTEX_BITSET_MATCH_ANY,
        )?),
        FutexOp::WakeBitset => Ok(futex::wake(kernel, &ctx.space()?, one, value, value3 as u32)?),
        FutexOp::Requeue | FutexOp::CmpRequeue => {
            if ctx.int(2) < 0 || (value2 as i32) < 0 {
                return Err(Fail::Errno(Errno::INVAL));
            }
            let expected = (operation == FutexOp::CmpRequeue).then_some(value3 as u32);
            let places = (one.0, two, sharing);
            let (woken, moved) =
                futex::wake_or_requeue(kernel, &ctx.space()?, places, (value, value2 as u32), expected)?;
            Ok(woken + moved)
        }
        FutexOp::WakeOp => {
            let places = (one.0, two, sharing);
            Ok(futex::wake_op(
                kernel,
                &ctx.space()?,
                places,
                (value, value2 as u32),
                value3 as u32,
            )?)
        }
        FutexOp::LockPi | FutexOp::LockPi2 | FutexOp::TrylockPi | FutexOp::UnlockPi => {
            owned_lock(ctx, operation, one)
        }
        FutexOp::WaitRequeuePi => {
            let until = deadline(ctx, word, true)?;
            let places = (one.0, two, sharing);
            match futex::wait_requeue_pi(kernel, ctx.task, places, value, until)? {
                Waited::Woken(_) => Ok(0),
                Waited::Timeout => Err(Fail::Errno(Errno::TIMEDOUT)),
                Waited::Signal => Err(Fail::Restart(Restart::NoIntr)),
            }
        }
        FutexOp::CmpRequeuePi => {
            // Exactly one gets the lock, if anybody.
            if value != 1 || (value2 as i32) < 0 {
                return Err(Fail::Errno(Errno::INVAL));
            }
            let places = (one.0, two, sharing);
            Ok(futex::requeue_pi(
                kernel,
                &ctx.space()?,
                places,
                value2 as u32,
                value3 as u32,
            )?)
        }
        FutexOp::Fd => Err(Fail::Errno(Errno::NOSYS)),
    }
}

/// The operations on locks that name their owner.
fn owned_lock<M: UserMachine>(ctx: &Ctx<'_, M>, operation: FutexOp, place: (VirtAddr, Sharing)) -> Answer<M> {
    let (kernel, task) = (ctx.kernel, ctx.task);
    let (until, only_try) = match operation {
        FutexOp::UnlockPi => return Ok(futex::unlock_pi(kernel, task, place).map(|()| 0)?),
        FutexOp::TrylockPi => (None, true),
        // The first of the two knew no other clock than the wall's.
        FutexOp::LockPi => (deadline(ctx, ctx.uint(1) | FUTEX_CLOCK_REALTIME, true)?, false),
        _ => (deadline(ctx, ctx.uint(1), true)?, false),
    };
    match futex::lock_pi(kernel, task, place, until, only_try)? {
        Waited::Woken(_) => Ok(0),
        Waited::Timeout => Err(Fail::Errno(Errno::TIMEDOUT)),
        Waited::Signal => Err(Fail::Restart(Restart::NoIntr)),
    }
}

/// Only these operations know of the wall clock.
fn check_clock(word: u32, operation: FutexOp) -> Result<(), Errno> {
    let knows = matches!(
        operation,
        FutexOp::Wait | FutexOp::WaitBitset | FutexOp::WaitRequeuePi | FutexOp::LockPi2
    );
    if word & FUTEX_CLOCK_REALTIME != 0 && !knows {
        Err(Errno::NOSYS)
    } else {
        Ok(())
    }
}

/// The end of the wait in the machine's monotonic time.
fn deadline<M: UserMachine>(ctx: &Ctx<'_, M>, word: u32, absolute: bool) -> Result<Option<Nanos>, Errno> {
    let Some(time) = ctx.read_opt::<Timespec>(ctx.args[3])? else {
        return Ok(None);
    };
    let nanos = time.to_nanos().ok_or(Errno::INVAL)?;
    Ok(Some(match (absolute, word & FUTEX_CLOCK_REALTIME != 0) {
        (false, _) => Nanos(ctx.task.parker().now().0.saturating_add(nanos)),
        (true, true) => ctx.kernel.monotonic_of(Nanos(nanos)),
        (true, false) => Nanos(nanos),
    }))
}

fn wait<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    place: (VirtAddr, Sharing),
    value: u32,
    bitset: u32,
    until: Option<Nanos>,
) -> Answer<M> {
    if bitset == 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    match futex::wait(ctx.kernel, ctx.task, place, value, bitset, until)? {
        Waited::Woken(_) => Ok(0),
        Waited::Timeout => Err(Fail::Errno(Errno::TIMEDOUT)),
        Waited::Signal => Err(Fail::Restart(match until {
            None => Restart::Sys,
            // The time that has passed must not start anew.
            Some(_) => Restart::Block(Box::new(move |ctx| wait(ctx, place, value, bitset, until))),
        })),
    }
}

/// `futex_waitv(waiters, count, flags, timeout, clock)`
fn futex_waitv<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const MOST: u64 = 128;
    let [at, count, flags, timeout, clock, _] = ctx.args;
    if flags != 0 || count == 0 || count > MOST {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let mut until = None;
    if let Some(time) = ctx.read_opt::<Timespec>(timeout)? {
        let nanos = Nanos(time.to_nanos().ok_or(Errno::INVAL)?);
        until = Some(match clock {
            0 => ctx.kernel.monotonic_of(nanos),
            1 => nanos,
            _ => return Err(Fail::Errno(Errno::INVAL)),
        });
    }
    let mut words = Vec::new();
    for index in 0..count {
        let waiter: FutexWaitv = ctx.read(at.wrapping_add(index * size_of::<FutexWaitv>() as u64))?;
        // 32 bits wide, perhaps private: nothing else is known.
        let known = waiter.flags & !FUTEX_PRIVATE == 2 && waiter.reserved == 0;
        if !known || waiter.val > u64::from(u32::MAX) {
            return Err(Fail::Errno(Errno::INVAL));
        }
        let private = waiter.flags & FUTEX_PRIVATE != 0;
        let sharing = if private {
            Sharing::Private
        } else {
            Sharing::Shared
        };
        words.push((VirtAddr::new(waiter.uaddr), sharing, waiter.val as u32));
    }
    match futex::wait_many(ctx.kernel, ctx.task, &words, until)? {
        Waited::Woken(index) => Ok(index as u64),
        Waited::Timeout => Err(Fail::Errno(Errno::TIMEDOUT)),
        Waited::Signal => Err(Fail::Restart(Restart::Sys)),
    }
}

/// Bytes of the head of a robust list.
const HEAD: u64 = 24;

/// `set_robust_list(head, size)`
fn set_robust_list<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.args[1] != HEAD {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let head = Some(ctx.args[0]).filter(|at| *at != 0).map(VirtAddr::new);
    ctx.task.words.lock().robust_list = head;
    Ok(0)
}

/// `get_robust_list(pid, head, size)`
fn get_robust_list<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let task = super::ctx::task_or_self(ctx, ctx.pid(0))?;
    let head = task.words.lock().robust_list.map_or(0, VirtAddr::raw);
    ctx.write(ctx.args[2], &HEAD)?;
    ctx.write(ctx.args[1], &head)?;
    Ok(0)
}
