//! A value that is read without a lock and replaced as a whole.
//!
//! # The protocol
//!
//! A reader counts itself in, loads the pointer, looks, and counts itself out.
//! A writer swaps the pointer, then waits until every counter was seen at
//! zero, then has the old value alone. Both read a counter by changing it, the
//! writer by adding nothing, so one comes first: either the writer sees the
//! reader inside, or the reader acquires what the writer released, the swap
//! included, and loads the new pointer.
//!
//! Counters come in two *phases*, of which new readers use the current one, so
//! that a stream of readers cannot keep a writer waiting. A reader may find
//! out the phase, be delayed over a whole replacement, and then count itself
//! into the phase that the next replacement takes for drained. Therefore each
//! replacement drains both phases, one after the other.

use alloc::boxed::Box;
use core::ptr;

use foliant_platform::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use foliant_platform::sync::{Mutex, relax};

use crate::mutant::{Mutant, ordering};

/// Counters per phase; threads spread over them. One under the model checker.
const SHARDS: usize = if cfg!(loom) { 1 } else { 8 };

/// Phases that a replacement drains.
const PHASES: usize = 2;

/// The value and the readers who look at it.
pub(super) struct Shared<V> {
    current: AtomicPtr<V>,
    phase: AtomicUsize,
    readers: [Shard; SHARDS],
    writer: Mutex<()>,
}

/// Readers of both phases, on a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    inside: [AtomicUsize; 2],
}

// SAFETY: readers share the value, and the last one to leave lets a writer,
// on any thread, take it out.
unsafe impl<V: Send + Sync> Sync for Shared<V> {}
// SAFETY: the value goes where the box goes.
unsafe impl<V: Send> Send for Shared<V> {}

impl<V> Shared<V> {
    pub(super) fn new(value: V) -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            phase: AtomicUsize::new(0),
            readers: core::array::from_fn(|_| Shard::default()),
            writer: Mutex::new(()),
        }
    }

    /// Looks at the value without waiting.
    pub(super) fn read<R>(&self, look: impl FnOnce(&V) -> R) -> R {
        let phase = self.phase.load(Ordering::Relaxed) % 2;
        let _inside = Inside::enter(&self.readers[shard()].inside[phase]);
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer came from a box, and `replace` does not free it
        // before it has seen our counter at zero: see the protocol above.
        look(unsafe { &*current })
    }

    /// Puts `value` in place of the current one, which comes back when nobody
    /// looks at it any more.
    pub(super) fn replace(&self, value: V) -> V {
        self.replace_draining(value, PHASES)
    }

    fn replace_draining(&self, value: V, phases: usize) -> V {
        let _one_writer = self.writer.lock();
        let old = self.current.swap(
            Box::into_raw(Box::new(value)),
            ordering(Mutant::PublishRelaxed, Ordering::AcqRel),
        );
        for _ in 0..phases {
            let drained = self.phase.fetch_add(1, Ordering::Relaxed) % 2;
            for shard in &self.readers {
                let mut spins = 0;
                while shard.inside[drained].fetch_add(0, ordering(Mutant::DrainRelaxed, Ordering::AcqRel))
                    != 0
                {
                    relax(&mut spins);
                }
            }
        }
        // SAFETY: from a box, taken out of `current` by the swap, so nobody
        // else frees it; no reader looks at it, by the protocol above.
        *unsafe { Box::from_raw(old) }
    }
}

impl<V> Drop for Shared<V> {
    fn drop(&mut self) {
        let current = self.current.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: from a box, and `&mut self` excludes readers and writers.
        drop(unsafe { Box::from_raw(current) });
    }
}

/// A reader that counted itself in; even a panic counts it out.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn enter(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, ordering(Mutant::ReaderEntersRelaxed, Ordering::Acquire));
        Self(counter)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0
            .fetch_sub(1, ordering(Mutant::ReaderLeavesRelaxed, Ordering::Release));
    }
}

/// The shard of this thread: threads have stacks of their own, so the address
/// of a local tells them apart well enough.
fn shard() -> usize {
    let here = 0_u8;
    ((&raw const here).addr() >> 14) % SHARDS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn readers_see_whole_versions_in_order() {
        let shared = Arc::new(Shared::new((0_u64, 0_u64)));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut last = 0;
                    while last < 500 {
                        let (one, two) = shared.read(|pair| *pair);
                        assert_eq!(one * 3, two);
                        assert!(one >= last);
                        last = one;
                    }
                })
            })
            .collect();
        for version in 1..=500 {
            assert_eq!(shared.replace((version, version * 3)).0, version - 1);
        }
        assert!(readers.into_iter().all(|reader| reader.join().is_ok()));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::mutant::holds_and_catches;
    use foliant_platform::sync::{Arc, UnsafeCell};
    use loom::thread;

    /// A value whose end is a write that the model checker sees.
    struct Canary(UnsafeCell<u32>);

    impl Drop for Canary {
        fn drop(&mut self) {
            // SAFETY: the protocol under test says that nobody reads now.
            self.0.with_mut(|value| unsafe { *value = 0 });
        }
    }

    // SAFETY: shared only through the protocol under test.
    unsafe impl Sync for Canary {}

    fn read_while_replaced(replacements: u32, phases: usize) {
        let shared = Arc::new(Shared::new(Canary(UnsafeCell::new(1))));
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: inside of a read, nobody writes.
                let seen = shared.read(|canary| canary.0.with(|value| unsafe { *value }));
                assert!(seen != 0);
            })
        };
        for version in 0..replacements {
            drop(shared.replace_draining(Canary(UnsafeCell::new(version + 2)), phases));
        }
        assert!(reader.join().is_ok());
    }

    fn model(replacements: u32, phases: usize) {
        loom::model(move || read_while_replaced(replacements, phases));
    }

    #[test]
    fn loom_a_replaced_value_is_not_looked_at() {
        model(2, PHASES);
    }

    #[test]
    fn loom_readers_and_who_replaces_see_what_the_other_did() {
        holds_and_catches(
            || read_while_replaced(1, PHASES),
            &[
                Mutant::PublishRelaxed,
                Mutant::DrainRelaxed,
                Mutant::ReaderEntersRelaxed,
                Mutant::ReaderLeavesRelaxed,
            ],
        );
    }

    #[test]
    #[should_panic]
    fn loom_mutant_that_does_not_wait_is_caught() {
        model(1, 0);
    }

    #[test]
    #[should_panic]
    fn loom_mutant_that_drains_one_phase_is_caught() {
        model(2, 1);
    }
}
