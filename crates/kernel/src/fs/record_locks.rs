//! Record locks and whole-file locks of files that live in the machine.

use alloc::vec::Vec;

use foliant_platform::sync::SpinLock;
use foliant_uapi::io::Flock;
use foliant_units::Errno;

/// `l_type` of a shared lock.
const SHARED: i16 = 0;
/// `l_type` of an exclusive lock.
const EXCLUSIVE: i16 = 1;
/// `l_type` of no lock.
const UNLOCK: i16 = 2;

/// Whose lock it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// A process.
    Process(i32),
    /// An open description, by a number of its own.
    Description(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    holder: Holder,
    exclusive: bool,
    /// First byte and last byte.
    first: u64,
    last: u64,
}

/// The locks on one file.
///
/// # Linux source concept
/// `struct file_lock_context`, fs/locks.c.
#[derive(Default, Debug)]
pub(crate) struct RecordLocks {
    records: SpinLock<Vec<Held>>,
    whole: SpinLock<Vec<(u64, bool)>>,
}

impl RecordLocks {
    /// Sets or drops a record lock with absolute bounds, or (`test`) tells
    /// which lock is in its way.
    ///
    /// # Errors
    /// `AGAIN` if another's lock is in its way, `INVAL` for bounds or a kind
    /// that make no sense, `NOLCK` without memory.
    pub(crate) fn set(&self, holder: Holder, lock: Flock, test: bool) -> Result<Option<Flock>, Errno> {
        let (first, last) = bounds(&lock)?;
        let wanted = Held {
            holder,
            exclusive: lock.kind == EXCLUSIVE,
            first,
            last,
        };
        let mut records = self.records.lock();
        let conflict = records
            .iter()
            .find(|held| lock.kind != UNLOCK && conflicts(held, &wanted));
        match (conflict, test) {
            (Some(held), true) => return Ok(Some(describe(held, lock))),
            (Some(_), false) => return Err(Errno::AGAIN),
            (None, true) => return Ok(None),
            (None, false) => {}
        }
        // Cutting one lock can leave two, and the new one comes to that.
        records.try_reserve(2).map_err(|_| Errno::NOLCK)?;
        cut(&mut records, &wanted);
        if lock.kind != UNLOCK {
            records.push(wanted);
        }
        Ok(None)
    }

    /// Drops all record locks of `holder`.
    pub(crate) fn release(&self, holder: Holder) {
        self.records.lock().retain(|held| held.holder != holder);
    }

    /// `flock(2)` by the description numbered `by`: `Some(true)` exclusive,
    /// `Some(false)` shared, `None` unlocks.
    ///
    /// # Errors
    /// `AGAIN` if another holds it; the lock that was held is gone then, as
    /// with Linux. `NOLCK` without memory.
    pub(crate) fn flock(&self, by: u64, exclusive: Option<bool>) -> Result<(), Errno> {
        let mut whole = self.whole.lock();
        whole.retain(|&(holder, _)| holder != by);
        let Some(exclusive) = exclusive else { return Ok(()) };
        if whole.iter().any(|&(_, other)| other || exclusive) {
            return Err(Errno::AGAIN);
        }
        whole.try_reserve(1).map_err(|_| Errno::NOLCK)?;
        whole.push((by, exclusive));
        Ok(())
    }
}

/// First and last byte that a lock covers.
fn bounds(lock: &Flock) -> Result<(u64, u64), Errno> {
    if ![SHARED, EXCLUSIVE, UNLOCK].contains(&lock.kind) {
        return Err(Errno::INVAL);
    }
    let (mut start, mut len) = (lock.start, lock.len);
    if len < 0 {
        // As POSIX has it: the bytes before `start`.
        start = start.checked_add(len).ok_or(Errno::INVAL)?;
        len = -len;
    }
    let first = u64::try_from(start).map_err(|_| Errno::INVAL)?;
    let last = match len {
        0 => i64::MAX as u64,
        len => first + len as u64 - 1,
    };
    if last > i64::MAX as u64 {
        return Err(Errno::OVERFLOW);
    }
    Ok((first, last))
}

fn conflicts(held: &Held, wanted: &Held) -> bool {
    held.holder != wanted.holder
        && (held.exclusive || wanted.exclusive)
        && held.first <= wanted.last
        && wanted.first <= held.last
}

/// Takes the bytes of `hole` out of all locks of its holder. The list has room
/// for one more entry than it gets.
fn cut(records: &mut Vec<Held>, hole: &Held) {
    let mut second = None;
    records.retain_mut(|held| {
        if held.holder != hole.holder || held.last < hole.first || hole.last < held.first {
            return true;
        }
        let before = held.first < hole.first;
        let after = held.last > hole.last;
        let rest = Held {
            first: hole.last.saturating_add(1),
            ..*held
        };
        match (before, after) {
            (false, false) => return false,
            (true, false) => held.last = hole.first - 1,
            (false, true) => *held = rest,
            (true, true) => {
                held.last = hole.first - 1;
                second = Some(rest);
            }
        }
        true
    });
    records.extend(second);
}

fn describe(held: &Held, asked: Flock) -> Flock {
    Flock {
        kind: if held.exclusive { EXCLUSIVE } else { SHARED },
        whence: 0,
        start: held.first as i64,
        len: if held.last == i64::MAX as u64 {
            0
        } else {
            (held.last - held.first + 1) as i64
        },
        pid: match held.holder {
            Holder::Process(process) => process,
            Holder::Description(_) => -1,
        },
        ..asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Holder = Holder::Process(1);
    const TWO: Holder = Holder::Process(2);

    fn lock(kind: i16, start: i64, len: i64) -> Flock {
        Flock {
            kind,
            start,
            len,
            ..Flock::default()
        }
    }

    #[test]
    fn shared_locks_go_together_and_exclusive_ones_do_not() {
        let locks = RecordLocks::default();
        assert_eq!(locks.set(ONE, lock(SHARED, 0, 10), false), Ok(None));
        assert_eq!(locks.set(TWO, lock(SHARED, 5, 10), false), Ok(None));
        assert_eq!(locks.set(TWO, lock(EXCLUSIVE, 9, 1), false), Err(Errno::AGAIN));
        assert_eq!(locks.set(TWO, lock(EXCLUSIVE, 10, 1), false), Ok(None));
    }

    #[test]
    fn a_test_tells_who_is_in_the_way() {
        let locks = RecordLocks::default();
        locks.set(ONE, lock(EXCLUSIVE, 100, 0), false).unwrap();
        let found = locks.set(TWO, lock(SHARED, 0, 0), true).unwrap().unwrap();
        assert_eq!(
            (found.kind, found.start, found.len, found.pid),
            (EXCLUSIVE, 100, 0, 1)
        );
        assert_eq!(locks.set(ONE, lock(EXCLUSIVE, 0, 0), true), Ok(None));
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let locks = RecordLocks::default();
        locks.set(ONE, lock(EXCLUSIVE, 0, 30), false).unwrap();
        locks.set(ONE, lock(UNLOCK, 10, 10), false).unwrap();
        assert_eq!(locks.set(TWO, lock(EXCLUSIVE, 10, 10), false), Ok(None));
        assert_eq!(locks.set(TWO, lock(SHARED, 9, 1), false), Err(Errno::AGAIN));
        assert_eq!(locks.set(TWO, lock(SHARED, 20, 1), false), Err(Errno::AGAIN));
        locks.release(ONE);
        assert_eq!(locks.set(TWO, lock(SHARED, 0, 0), false), Ok(None));
    }

    #[test]
    fn a_new_lock_of_the_same_holder_replaces_the_old_one_where_they_meet() {
        let locks = RecordLocks::default();
        locks.set(ONE, lock(EXCLUSIVE, 0, 30), false).unwrap();
        locks.set(ONE, lock(SHARED, 0, 0), false).unwrap();
        assert_eq!(locks.set(TWO, lock(SHARED, 0, 0), false), Ok(None));
    }

    #[test]
    fn a_negative_length_means_the_bytes_before() {
        let locks = RecordLocks::default();
        locks.set(ONE, lock(EXCLUSIVE, 10, -10), false).unwrap();
        assert_eq!(locks.set(TWO, lock(SHARED, 9, 1), false), Err(Errno::AGAIN));
        assert_eq!(locks.set(TWO, lock(SHARED, 10, 1), false), Ok(None));
        assert_eq!(locks.set(TWO, lock(SHARED, 5, -10), false), Err(Errno::INVAL));
    }

    #[test]
    fn whole_file_locks_belong_to_descriptions() {
        let locks = RecordLocks::default();
        assert_eq!(locks.flock(1, Some(false)), Ok(()));
        assert_eq!(locks.flock(2, Some(false)), Ok(()));
        assert_eq!(locks.flock(2, Some(true)), Err(Errno::AGAIN));
        assert_eq!(locks.flock(1, None), Ok(()));
        assert_eq!(locks.flock(2, Some(true)), Ok(()));
    }
}
