//! Record locks and `flock`.

use foliant_platform::Nanos;
use foliant_uapi::io::Flock;
use foliant_uapi::open::Fcntl;
use foliant_units::Errno;

use crate::fd::OpenRef;
use crate::fs::LockOwner;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::syscall::{Answer, Ctx, Fail};

/// Types of record locks in `struct flock`.
const READ: i16 = 0;
const WRITE: i16 = 1;
const UNLOCK: i16 = 2;

/// How long a task rests before it asks again for something that nobody
/// announces.
const PAUSE: u64 = 1_000_000;

/// Rests for a moment.
///
/// # Errors
/// A signal wants the task.
pub(super) fn pause<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<(), Fail<M>> {
    let parker = ctx.task.parker();
    let until = Nanos(parker.now().0 + PAUSE);
    match parker.park(Interrupt::BySignal, Some(until), || None::<()>) {
        Err(WaitError::Signal) => Err(WaitError::Signal.into()),
        Ok(()) | Err(WaitError::Timeout) => Ok(()),
    }
}

/// The `F_*LK*` commands.
pub(super) fn record<M: UserMachine>(ctx: &mut Ctx<'_, M>, command: Fcntl, open: &OpenRef<M>) -> Answer<M> {
    let memory = ctx.memory()?;
    let mut lock: Flock = memory.get(ctx.ptr(2))?;
    let by_description = matches!(command, Fcntl::OfdGetLk | Fcntl::OfdSetLk | Fcntl::OfdSetLkW);
    if by_description && lock.pid != 0 {
        return Err(Errno::INVAL.into());
    }
    let test = matches!(command, Fcntl::GetLk | Fcntl::OfdGetLk);
    check(open, &lock, test)?;
    absolute(open, &mut lock)?;
    let owner = if by_description {
        LockOwner::Description
    } else {
        LockOwner::Process(ctx.task.process().id().raw())
    };
    if test {
        let found = open.file().lock(owner, lock, true)?;
        let answer = found.unwrap_or(Flock {
            kind: UNLOCK,
            whence: 0,
            ..lock
        });
        memory.put(ctx.ptr(2), &answer)?;
        return Ok(0);
    }
    let waits = matches!(command, Fcntl::SetLkW | Fcntl::OfdSetLkW);
    loop {
        match open.file().lock(owner, lock, false) {
            Err(Errno::AGAIN) if waits => pause(ctx)?,
            answer => return Ok(answer.map(|_| 0)?),
        }
    }
}

fn check<M: UserMachine>(open: &OpenRef<M>, lock: &Flock, test: bool) -> Result<(), Errno> {
    match lock.kind {
        READ if test || open.flags().readable() => Ok(()),
        WRITE if test || open.flags().writable() => Ok(()),
        UNLOCK if !test => Ok(()),
        READ | WRITE => Err(Errno::BADF),
        _ => Err(Errno::INVAL),
    }
}

/// Makes the bounds count from the start of the file, and the length positive.
fn absolute<M: UserMachine>(open: &OpenRef<M>, lock: &mut Flock) -> Result<(), Errno> {
    let base = match lock.whence {
        0 => 0,
        1 => open.position() as i64,
        2 => open.file().stat()?.size as i64,
        _ => return Err(Errno::INVAL),
    };
    let start = base.checked_add(lock.start).ok_or(Errno::OVERFLOW)?;
    (lock.start, lock.len) = if lock.len < 0 {
        (start.checked_add(lock.len).ok_or(Errno::INVAL)?, -lock.len)
    } else {
        (start, lock.len)
    };
    lock.whence = 0;
    if lock.start < 0 { Err(Errno::INVAL) } else { Ok(()) }
}

pub(super) fn flock<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NONBLOCK: u32 = 4;
    const RELEASE: u32 = 8;
    let open = ctx.open(0)?;
    let command = ctx.uint(1);
    let exclusive = match command & !NONBLOCK {
        SHARED => Some(false),
        EXCLUSIVE => Some(true),
        RELEASE => None,
        _ => return Err(Errno::INVAL.into()),
    };
    loop {
        match open.file().flock(exclusive) {
            Err(Errno::AGAIN) if command & NONBLOCK == 0 => pause(ctx)?,
            answer => return Ok(answer.map(|()| 0)?),
        }
    }
}
