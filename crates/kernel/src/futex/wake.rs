//! Waking, and moving waiters to another futex.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::space::Space;

use super::key::{Key, Sharing};
use super::table::{Bucket, Waiter, Wanted};

/// Wakes up to `count` waiters that hear one of the bits of `bitset`; returns
/// how many.
///
/// # Errors
/// `INVAL` for an empty `bitset`; `FAULT`, `INVAL` for the address.
pub(crate) fn wake<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Arc<Space<M>>,
    (at, sharing): (VirtAddr, Sharing),
    count: u32,
    bitset: u32,
) -> Result<u64, Errno> {
    if bitset == 0 {
        return Err(Errno::INVAL);
    }
    let key = Key::at(space, at, sharing)?;
    let woken = take(&mut kernel.futexes().bucket(key), key, count, bitset)?;
    Ok(wake_all(&woken))
}

/// Wakes waiters of a word that is cleared when a task ends, shared or not.
pub(crate) fn wake_word<M: UserMachine>(kernel: &Kernel<M>, space: &Arc<Space<M>>, at: VirtAddr, count: u32) {
    // An address that is no futex has no waiters.
    let _ = wake(kernel, space, (at, Sharing::Shared), count, u32::MAX);
}

/// Wakes up to `count` waiters of one futex and moves up to `moved` others to
/// a second one, if the first word still is `expected`; returns how many.
///
/// # Errors
/// `AGAIN` if it is not; `FAULT`, `INVAL` for the addresses.
pub(crate) fn wake_or_requeue<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Arc<Space<M>>,
    (from, to, sharing): (VirtAddr, VirtAddr, Sharing),
    (count, moved): (u32, u32),
    expected: Option<u32>,
) -> Result<(u64, u64), Errno> {
    let source = Key::at(space, from, sharing)?;
    let target = Key::at(space, to, sharing)?;
    let (mut bucket, mut other) = kernel.futexes().two_buckets(source, target);
    if let Some(expected) = expected {
        let now = space.read_u32(from)?;
        if now != expected {
            return Err(Errno::AGAIN);
        }
    }
    let woken = take(&mut bucket, source, count, u32::MAX)?;
    let movers = if moved == 0 {
        Vec::new()
    } else {
        take(&mut bucket, source, moved, u32::MAX)?
    };
    let requeued = movers.len() as u64;
    for waiter in movers {
        waiter.move_to(target, Wanted::Wake);
        other.as_deref_mut().unwrap_or(&mut bucket).waiters.push(waiter);
    }
    drop((bucket, other));
    Ok((wake_all(&woken), requeued))
}

/// Changes the second word as `operation` says, wakes up to `count` waiters of
/// the first, and up to `count2` of the second if its old value passes the
/// comparison in `operation`.
///
/// # Errors
/// `NOSYS` for an unknown operation; `FAULT`, `INVAL` for the addresses.
pub(crate) fn wake_op<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Arc<Space<M>>,
    (one, two, sharing): (VirtAddr, VirtAddr, Sharing),
    (count, count2): (u32, u32),
    operation: u32,
) -> Result<u64, Errno> {
    let first = Key::at(space, one, sharing)?;
    let second = Key::at(space, two, sharing)?;
    let (mut bucket, mut other) = kernel.futexes().two_buckets(first, second);
    let old = change(space, two, operation)?;
    let mut woken = take(&mut bucket, first, count, u32::MAX)?;
    if compare(old, operation)? {
        let bucket = other.as_deref_mut().unwrap_or(&mut bucket);
        woken.extend(take(bucket, second, count2, u32::MAX)?);
    }
    drop((bucket, other));
    Ok(wake_all(&woken))
}

/// Takes out up to `count` waiters (at least one, as Linux does).
fn take(bucket: &mut Bucket, key: Key, count: u32, bitset: u32) -> Result<Vec<Arc<Waiter>>, Errno> {
    let count = count.max(1) as usize;
    let mut taken: Vec<Arc<Waiter>> = Vec::new();
    let mut failed = false;
    bucket.waiters.retain(|waiter| {
        if failed || taken.len() >= count || waiter.key() != key || waiter.bitset & bitset == 0 {
            return true;
        }
        if waiter.wanted() != Wanted::Wake {
            // Locks with priority inheritance are given back, not woken.
            failed = true;
            return true;
        }
        taken.push(waiter.clone());
        false
    });
    if failed && taken.is_empty() {
        Err(Errno::INVAL)
    } else {
        Ok(taken)
    }
}

fn wake_all(woken: &[Arc<Waiter>]) -> u64 {
    woken.iter().for_each(|waiter| waiter.wake());
    woken.len() as u64
}

/// The argument of an operation or comparison: twelve bits, signed.
fn signed(bits: u32) -> u32 {
    ((bits << 20) as i32 >> 20) as u32
}

fn change<M: UserMachine>(space: &Space<M>, at: VirtAddr, operation: u32) -> Result<u32, Errno> {
    let by_shift = operation & 8 << 28 != 0;
    let argument = signed(operation >> 12);
    let argument = if by_shift {
        1u32 << (argument & 31)
    } else {
        argument
    };
    let apply = |old: u32| match operation >> 28 & 7 {
        0 => Ok(argument),
        1 => Ok(old.wrapping_add(argument)),
        2 => Ok(old | argument),
        3 => Ok(old & !argument),
        4 => Ok(old ^ argument),
        _ => Err(Errno::NOSYS),
    };
    let mut old = space.read_u32(at)?;
    loop {
        let found = space.cmpxchg_u32(at, old, apply(old)?)?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}

fn compare(old: u32, operation: u32) -> Result<bool, Errno> {
    let (old, with) = (old as i32, signed(operation) as i32);
    match operation >> 24 & 15 {
        0 => Ok(old == with),
        1 => Ok(old != with),
        2 => Ok(old < with),
        3 => Ok(old <= with),
        4 => Ok(old > with),
        5 => Ok(old >= with),
        _ => Err(Errno::NOSYS),
    }
}
