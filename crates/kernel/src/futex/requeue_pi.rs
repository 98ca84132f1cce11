//! Waiting on a word until somebody moves one to a lock that names its owner:
//! condition variables of such locks.

use alloc::sync::Arc;

use foliant_platform::Nanos;
use foliant_uapi::futex::FUTEX_WAITERS;
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::pid::Pid;
use crate::space::Space;
use crate::task::Task;

use super::key::{Key, Sharing};
use super::pi::{take_or_mark, waiters_bit};
use super::table::{Bucket, Waiter, Wanted};
use super::wait::{Waited, join_if};

/// Sleeps while the word at `at` is `value`, until moved to the lock at `lock`
/// and given it.
///
/// # Errors
/// `AGAIN` if the word is not `value`, or if a signal came after the move;
/// `INVAL` if both are one; `FAULT`, `INVAL` for the addresses.
///
/// # Linux source concept
/// `futex_wait_requeue_pi()`.
pub(crate) fn wait_requeue_pi<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    (at, lock, sharing): (VirtAddr, VirtAddr, Sharing),
    value: u32,
    until: Option<Nanos>,
) -> Result<Waited, Errno> {
    if at == lock {
        return Err(Errno::INVAL);
    }
    let space = task.space().ok_or(Errno::FAULT)?;
    let target = Key::at(&space, lock, sharing)?;
    let key = Key::at(&space, at, sharing)?;
    if key == target {
        return Err(Errno::INVAL);
    }
    let wanted = Wanted::Requeue(target, task.tid());
    let waiter = Waiter::new(key, u32::MAX, wanted, task.parker().clone());
    join_if(kernel.futexes(), &space, &waiter, at, value)?;

    let ready = || waiter.is_woken().then_some(());
    let slept = task.parker().park(Interrupt::BySignal, until, ready);
    match slept {
        _ if !kernel.futexes().leave(&waiter) => Ok(Waited::Woken(0)),
        Err(WaitError::Timeout) => Ok(Waited::Timeout),
        // The word has changed since: the call cannot start again.
        Ok(()) | Err(WaitError::Signal) if waiter.wanted() != wanted => Err(Errno::AGAIN),
        Ok(()) | Err(WaitError::Signal) => Ok(Waited::Signal),
    }
}

/// Gives the lock at `lock` to the longest waiter of the word at `at`, or lets
/// it wait there, together with up to `more` others; returns how many it was.
///
/// # Errors
/// `AGAIN` if the word is not `expected`; `INVAL` if somebody waits there for
/// something else; `DEADLK` if the longest waiter has the lock, `SRCH` if its
/// owner does not exist; `FAULT`, `INVAL` for the addresses.
///
/// # Linux source concept
/// `futex_requeue()` and `futex_proxy_trylock_atomic()`.
pub(crate) fn requeue_pi<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Arc<Space<M>>,
    (at, lock, sharing): (VirtAddr, VirtAddr, Sharing),
    more: u32,
    expected: u32,
) -> Result<u64, Errno> {
    let key = Key::at(space, at, sharing)?;
    let target = Key::at(space, lock, sharing)?;
    if key == target {
        return Err(Errno::INVAL);
    }
    let (mut bucket, mut other) = kernel.futexes().two_buckets(key, target);
    if space.read_u32(at)? != expected {
        return Err(Errno::AGAIN);
    }
    // There must be a lock even if nobody wants it.
    space.read_u32(lock)?;
    let Some((first, heir)) = next(&bucket, key, target)? else {
        return Ok(0);
    };

    let there = other.as_deref().unwrap_or(&bucket);
    let marks = waiters_bit(there, target) | if more > 0 { FUTEX_WAITERS } else { 0 };
    let owner = take_or_mark(space, lock, heir.raw() as u32, marks)?;
    if owner == heir.raw() as u32 {
        return Err(Errno::DEADLK);
    }
    if owner != 0 && kernel.tree().task(Pid::new(owner as i32)).is_none() {
        return Err(Errno::SRCH);
    }
    let mut moved = 0;
    let given = (owner == 0).then(|| {
        bucket.waiters.retain(|waiter| !Arc::ptr_eq(waiter, &first));
        moved += 1;
        first
    });
    while moved < u64::from(more) + 1 {
        match next(&bucket, key, target) {
            Ok(Some((waiter, heir))) => {
                bucket.waiters.retain(|other| !Arc::ptr_eq(other, &waiter));
                waiter.move_to(target, Wanted::Lock(heir));
                other.as_deref_mut().unwrap_or(&mut bucket).waiters.push(waiter);
                moved += 1;
            }
            Ok(None) => break,
            Err(errno) => {
                drop((bucket, other));
                given.inspect(|waiter| waiter.wake());
                return Err(errno);
            }
        }
    }
    drop((bucket, other));
    given.inspect(|waiter| waiter.wake());
    Ok(moved)
}

/// The longest waiter of `key`, who must want to go to `target`, and its task.
fn next(bucket: &Bucket, key: Key, target: Key) -> Result<Option<(Arc<Waiter>, Pid)>, Errno> {
    let Some(waiter) = bucket.waiters.iter().find(|waiter| waiter.key() == key) else {
        return Ok(None);
    };
    match waiter.wanted() {
        Wanted::Requeue(to, task) if to == target => Ok(Some((waiter.clone(), task))),
        Wanted::Requeue(..) | Wanted::Wake | Wanted::Lock(_) => Err(Errno::INVAL),
    }
}
