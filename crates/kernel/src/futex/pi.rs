//! Locks that name their owner in user memory. The owner's priority is the
//! host's affair; what is kept here is who gets the lock next.

use alloc::sync::Arc;

use foliant_platform::Nanos;
use foliant_uapi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::pid::Pid;
use crate::space::Space;
use crate::task::Task;

use super::key::{Key, Sharing};
use super::table::{Bucket, Waiter, Wanted};
use super::wait::Waited;

/// Takes the lock at `at`; with `only_try` does not wait for it.
///
/// # Errors
/// `DEADLK` if the caller has it, `SRCH` if its owner does not exist, `AGAIN`
/// if it is taken and `only_try`; `FAULT`, `INVAL` for the address.
pub(crate) fn lock_pi<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    (at, sharing): (VirtAddr, Sharing),
    until: Option<Nanos>,
    only_try: bool,
) -> Result<Waited, Errno> {
    let space = task.space().ok_or(Errno::FAULT)?;
    let key = Key::at(&space, at, sharing)?;
    let tid = task.tid().raw() as u32;
    let waiter = {
        let mut bucket = kernel.futexes().bucket(key);
        let owner = take_or_mark(&space, at, tid, waiters_bit(&bucket, key))?;
        if owner == 0 {
            return Ok(Waited::Woken(0));
        }
        if owner == tid {
            return Err(Errno::DEADLK);
        }
        if only_try {
            return Err(Errno::AGAIN);
        }
        if kernel.tree().task(Pid::new(owner as i32)).is_none() {
            return Err(Errno::SRCH);
        }
        let waiter = Waiter::new(key, u32::MAX, Wanted::Lock(task.tid()), task.parker().clone());
        bucket.waiters.push(waiter.clone());
        waiter
    };

    let ready = || waiter.is_woken().then_some(());
    let slept = task.parker().park(Interrupt::BySignal, until, ready);
    match slept {
        _ if !kernel.futexes().leave(&waiter) => Ok(Waited::Woken(0)),
        Err(WaitError::Timeout) => Ok(Waited::Timeout),
        Ok(()) | Err(WaitError::Signal) => Ok(Waited::Signal),
    }
}

/// Gives the lock at `at` to the longest waiter, or frees it.
///
/// # Errors
/// `PERM` if the caller does not have it; `FAULT`, `INVAL` for the address.
pub(crate) fn unlock_pi<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    (at, sharing): (VirtAddr, Sharing),
) -> Result<(), Errno> {
    let space = task.space().ok_or(Errno::FAULT)?;
    let key = Key::at(&space, at, sharing)?;
    hand_over(kernel, &space, (at, key), task.tid().raw() as u32, 0)
}

/// Gives the lock of `tid` to the longest waiter, with `mark` in the word.
pub(super) fn hand_over<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Space<M>,
    (at, key): (VirtAddr, Key),
    tid: u32,
    mark: u32,
) -> Result<(), Errno> {
    let mut bucket = kernel.futexes().bucket(key);
    let position = bucket
        .waiters
        .iter()
        .position(|waiter| waiter.heir_of(key).is_some());
    let heir = position.map(|position| bucket.waiters.remove(position));
    let new = match heir.as_ref().and_then(|waiter| waiter.heir_of(key)) {
        Some(heir) => heir.raw() as u32 | waiters_bit(&bucket, key) | mark,
        None => mark,
    };

    let mut old = space.read_u32(at)?;
    loop {
        if old & FUTEX_TID_MASK != tid {
            // Not the owner: whoever was taken out goes back to the front.
            if let (Some(waiter), Some(position)) = (heir, position) {
                bucket.waiters.insert(position, waiter);
            }
            return Err(Errno::PERM);
        }
        let found = space.cmpxchg_u32(at, old, new)?;
        if found == old {
            break;
        }
        old = found;
    }
    drop(bucket);
    if let Some(waiter) = heir {
        waiter.wake();
    }
    Ok(())
}

pub(super) fn waiters_bit(bucket: &Bucket, key: Key) -> u32 {
    if bucket.waiters.iter().any(|waiter| waiter.heir_of(key).is_some()) {
        FUTEX_WAITERS
    } else {
        0
    }
}

/// Takes a free lock and returns 0, or marks it as waited for and returns its owner.
pub(super) fn take_or_mark<M: UserMachine>(
    space: &Space<M>,
    at: VirtAddr,
    tid: u32,
    waiters: u32,
) -> Result<u32, Errno> {
    let mut old = space.read_u32(at)?;
    loop {
        let owner = old & FUTEX_TID_MASK;
        let new = match owner {
            0 => tid | waiters | old & FUTEX_OWNER_DIED,
            _ if owner == tid => return Ok(tid),
            _ => old | FUTEX_WAITERS,
        };
        let found = space.cmpxchg_u32(at, old, new)?;
        if found == old {
            return Ok(owner);
        }
        old = found;
    }
}
