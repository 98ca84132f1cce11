//! Waiting.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::space::Space;
use crate::task::Task;

use super::key::{Key, Sharing};
use super::table::{Futexes, Waiter, Wanted};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// Somebody woke it: the index of the futex.
    Woken(usize),
    /// The time is over.
    Timeout,
    /// A signal wants the task.
    Signal,
}

/// Sleeps while the word at `at` is `value`, until woken through one of the
/// bits of `bitset`.
///
/// # Errors
/// `AGAIN` if the word is not `value`; `FAULT`, `INVAL` for the address.
pub(crate) fn wait<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    (at, sharing): (VirtAddr, Sharing),
    value: u32,
    bitset: u32,
    until: Option<Nanos>,
) -> Result<Waited, Errno> {
    let space = task.space().ok_or(Errno::FAULT)?;
    let key = Key::at(&space, at, sharing)?;
    let waiter = Waiter::new(key, bitset, Wanted::Wake, task.parker().clone());
    join_if(kernel.futexes(), &space, &waiter, at, value)?;
    Ok(sleep(kernel.futexes(), task, &[waiter], until))
}

/// Sleeps while each word has its value, until one is woken.
///
/// # Errors
/// As [`wait`].
pub(crate) fn wait_many<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    words: &[(VirtAddr, Sharing, u32)],
    until: Option<Nanos>,
) -> Result<Waited, Errno> {
    let space = task.space().ok_or(Errno::FAULT)?;
    let mut waiters: Vec<Arc<Waiter>> = Vec::new();
    for (at, sharing, value) in words {
        let joined = Key::at(&space, *at, *sharing).and_then(|key| {
            let waiter = Waiter::new(key, u32::MAX, Wanted::Wake, task.parker().clone());
            join_if(kernel.futexes(), &space, &waiter, *at, *value).map(|()| waiter)
        });
        match joined {
            Ok(waiter) => waiters.push(waiter),
            Err(errno) => {
                let woken = leave_all(kernel.futexes(), &waiters);
                return woken.map_or(Err(errno), |index| Ok(Waited::Woken(index)));
            }
        }
    }
    Ok(sleep(kernel.futexes(), task, &waiters, until))
}

/// Joins the bucket, if the word still is what the caller has seen.
pub(super) fn join_if<M: UserMachine>(
    futexes: &Futexes,
    space: &Arc<Space<M>>,
    waiter: &Arc<Waiter>,
    at: VirtAddr,
    value: u32,
) -> Result<(), Errno> {
    let mut bucket = futexes.bucket(waiter.key());
    let now = space.read_u32(at)?;
    if now != value {
        return Err(Errno::AGAIN);
    }
    bucket.waiters.push(waiter.clone());
    Ok(())
}

fn sleep<M: UserMachine>(
    futexes: &Futexes,
    task: &Arc<Task<M>>,
    waiters: &[Arc<Waiter>],
    until: Option<Nanos>,
) -> Waited {
    let ready = || waiters.iter().any(|waiter| waiter.is_woken()).then_some(());
    let slept = task.parker().park(Interrupt::BySignal, until, ready);
    if let Some(index) = leave_all(futexes, waiters) {
        // A wake-up that came with the signal or at the end of the time counts.
        return Waited::Woken(index);
    }
    match slept {
        Err(WaitError::Timeout) => Waited::Timeout,
        Ok(()) | Err(WaitError::Signal) => Waited::Signal,
    }
}

/// Leaves every bucket; the last one that was woken, if any.
fn leave_all(futexes: &Futexes, waiters: &[Arc<Waiter>]) -> Option<usize> {
    let mut woken = None;
    for (index, waiter) in waiters.iter().enumerate() {
        if !futexes.leave(waiter) {
            woken = Some(index);
        }
    }
    woken
}
