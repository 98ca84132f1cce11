//! The signal mask that some waits bring along.

use foliant_uapi::SigSet;
use foliant_units::{Errno, VirtAddr};

use crate::machine::UserMachine;
use crate::park::WaitError;
use crate::syscall::{Answer, Ctx, Fail, Restart};

/// Takes the mask at `at` for the time of the call; a null pointer changes nothing.
///
/// # Errors
/// `INVAL` if `size` is not that of the kernel's mask; `FAULT`.
pub(super) fn enter<M: UserMachine>(ctx: &Ctx<'_, M>, at: VirtAddr, size: u64) -> Result<(), Errno> {
    if at.raw() == 0 {
        return Ok(());
    }
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let mask: u64 = ctx.memory()?.get(at)?;
    ctx.task.set_blocked_meanwhile(SigSet::from_bits(mask));
    Ok(())
}

/// A wait that starts again only if no handler ran.
pub(super) fn leave<M: UserMachine>(_: &Ctx<'_, M>, result: Result<u64, WaitError>) -> Answer<M> {
    result.map_err(|_| Fail::Restart(Restart::NoHand))
}

/// A wait that never starts again.
pub(super) fn leave_interrupted<M: UserMachine>(_: &Ctx<'_, M>, result: Result<u64, WaitError>) -> Answer<M> {
    result.map_err(|_| Errno::INTR.into())
}
