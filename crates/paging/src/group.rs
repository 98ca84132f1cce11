//! Neighbouring leaves that say together that they map contiguous memory.
//!
//! The hint is of the whole group or of none of it, so whoever changes one of
//! its leaves takes the hint from all first; both cursors see to that. For
//! formats without the hint nothing of this is left in the code.

use core::ops::Range;

use foliant_arch::{Entry, Format, Level};

use crate::store::{Store, Words};

/// The entries of the group that `index` is in.
fn members<F: Format>(level: Level, index: usize) -> Range<usize> {
    let count = F::group(level);
    let first = index - index % count;
    first..first + count
}

/// Sets the hint in the group of entry `index`, if its entries allow that;
/// tells whether they do. The caller has the right to change the table.
pub(crate) fn form<S: Store, F: Format>(words: S::Words<'_>, level: Level, index: usize) -> bool {
    let members = members::<F>(level, index);
    let bytes = F::GEOMETRY.entry_span(level);
    let first = words.load::<F>(members.start);
    let aligned = first
        .target(level)
        .raw()
        .is_multiple_of(bytes * members.len() as u64);
    let goes_on = |at: usize| {
        let (one, next) = (words.load::<F>(at), words.load::<F>(at + 1));
        one.goes_on_in(next, level, bytes)
    };
    if members.len() == 1 || !aligned || !(members.start..members.end - 1).all(goes_on) {
        return false;
    }
    for at in members {
        change::<S, F>(words, at, |entry| entry.with_group(true));
    }
    true
}

/// Takes the hint from the group of entry `index`. The caller has the right to
/// change the table.
#[cold]
pub(crate) fn dissolve<S: Store, F: Format>(words: S::Words<'_>, level: Level, index: usize) {
    let (mut accessed, mut dirty) = (false, false);
    for at in members::<F>(level, index) {
        let old = change::<S, F>(words, at, |entry| entry.with_group(false));
        accessed |= old.is_accessed();
        dirty |= old.is_dirty();
    }
    // The hardware may have marked any one of them for all.
    if accessed {
        for at in members::<F>(level, index) {
            change::<S, F>(words, at, |entry| entry.touched(dirty));
        }
    }
}

/// Changes one entry, whatever the hardware does to it; returns what it was.
fn change<S: Store, F: Format>(
    words: S::Words<'_>,
    at: usize,
    to: impl Fn(F::Entry) -> F::Entry,
) -> F::Entry {
    let mut old = words.load::<F>(at);
    loop {
        match words.compare_exchange::<F>(at, old, to(old)) {
            Ok(()) => return old,
            Err(seen) => old = seen,
        }
    }
}
