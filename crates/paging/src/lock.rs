//! The lock word of a table: open, locked, or detached for good.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::relax;

use crate::mutant::{Mutant, seeded};

const OPEN: u32 = 0;
const LOCKED: u32 = 1;
const DETACHED: u32 = 2;

/// The table was unlinked; look again from the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Detached;

/// Waits until the table is open and locks it.
#[inline]
pub(crate) fn lock(word: &AtomicU32) -> Result<(), Detached> {
    let mut spins = 0;
    loop {
        match word.compare_exchange_weak(OPEN, LOCKED, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Ok(()),
            Err(DETACHED) if seeded(Mutant::LockDetached) => return Ok(()),
            Err(DETACHED) => return Err(Detached),
            Err(_) => relax(&mut spins),
        }
    }
}

/// Opens a table that the caller has locked.
#[inline]
pub(crate) fn unlock(word: &AtomicU32) {
    let order = if seeded(Mutant::UnlockRelaxed) {
        Ordering::Relaxed
    } else {
        Ordering::Release
    };
    word.store(OPEN, order);
}

/// Detaches a table that the caller has locked; nobody will lock it again.
pub(crate) fn detach(word: &AtomicU32) {
    word.store(DETACHED, Ordering::Release);
}

/// Whether a table that nobody is working on is open.
pub(crate) fn is_open(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) == OPEN
}
