//! Reference counts.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::{Arc, UnsafeCell};
use loom::thread;

use super::holds_and_catches;
use crate::mutant::Mutant;
use crate::record::{Count, Left};

/// Something counted, with a plain word in it that loom watches.
#[derive(Default)]
struct Counted {
    count: Count,
    content: UnsafeCell<u32>,
    released: AtomicU32,
}

// SAFETY: the content is read by holders and written by the one who releases;
// whether that is true is what the model is about.
unsafe impl Sync for Counted {}
// SAFETY: as above.
unsafe impl Send for Counted {}

impl Counted {
    fn new() -> Arc<Self> {
        let counted = Self::default();
        counted.count.begin();
        Arc::new(counted)
    }

    fn read(&self) {
        // SAFETY: the caller holds a reference.
        self.content.with(|content| unsafe { content.read() });
    }

    fn put(&self) {
        if self.count.put() == Left::None {
            // SAFETY: nobody holds a reference any more.
            self.content.with_mut(|content| unsafe { content.write(7) });
            self.released.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn loom_the_last_put_comes_after_every_use() {
    holds_and_catches(
        || {
            let one = Counted::new();
            one.count.get_another();
            let two = one.clone();
            let other = thread::spawn(move || {
                two.read();
                two.put();
            });
            one.read();
            one.put();
            other.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[Mutant::PutRelaxed, Mutant::PutWithoutFence],
    );
}

#[test]
fn loom_what_was_released_is_not_found_again() {
    holds_and_catches(
        || {
            let one = Counted::new();
            let two = one.clone();
            let finder = thread::spawn(move || {
                if two.count.try_get() {
                    two.read();
                    two.put();
                }
            });
            one.put();
            finder.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[Mutant::TryGetRevives, Mutant::PutRelaxed],
    );
}

#[test]
fn loom_a_frozen_count_has_no_other_holder() {
    holds_and_catches(
        || {
            let one = Counted::new();
            let two = one.clone();
            let finder = thread::spawn(move || {
                if two.count.try_get() {
                    two.read();
                    two.put();
                }
            });
            if one.count.freeze(1) {
                // SAFETY: frozen, so nobody else has a reference.
                one.content.with_mut(|content| unsafe { content.write(1) });
                one.count.thaw(1);
            }
            one.put();
            finder.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[Mutant::FreezeInTwoSteps],
    );
}
