//! Reference counts.

use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::holds_and_catches;
use super::world::Word;
use crate::mutant::Mutant;
use crate::record::{Count, Left, MapCount};

/// Something counted, with a plain word in it that loom watches.
#[derive(Default)]
struct Counted {
    count: Count,
    content: Word,
    released: AtomicU32,
}

impl Counted {
    fn new() -> Arc<Self> {
        let counted = Self::default();
        counted.count.begin();
        Arc::new(counted)
    }

    fn findable() -> Arc<Self> {
        let counted = Self::new();
        counted.count.make_findable();
        counted
    }

    fn put(&self) {
        if self.count.put() == Left::None {
            self.content.write();
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
                two.content.read();
                two.put();
            });
            one.content.read();
            one.put();
            other.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[
            Mutant::PutRelaxed,
            Mutant::PutWithoutFence,
            Mutant::PutAloneRelaxed,
        ],
    );
}

#[test]
fn loom_who_is_alone_stays_alone() {
    holds_and_catches(
        || {
            let one = Counted::new();
            let two = one.clone();
            let finder = thread::spawn(move || {
                if two.count.try_get() {
                    two.content.read();
                    two.put();
                }
            });
            one.put();
            finder.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[Mutant::TryGetUnfindable],
    );
}

#[test]
fn loom_what_was_released_is_not_found_again() {
    holds_and_catches(
        || {
            let one = Counted::findable();
            let two = one.clone();
            let finder = thread::spawn(move || {
                if two.count.try_get() {
                    two.content.read();
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
            let one = Counted::findable();
            let two = one.clone();
            let finder = thread::spawn(move || {
                if two.count.try_get() {
                    two.content.read();
                    two.put();
                }
            });
            if one.count.freeze(1) {
                one.content.write();
                one.count.thaw(1);
            }
            one.put();
            finder.join().unwrap();
            assert_eq!(one.released.load(Ordering::Relaxed), 1);
        },
        &[Mutant::FreezeInTwoSteps],
    );
}

#[test]
fn loom_entries_come_and_go_without_a_loss() {
    holds_and_catches(
        || {
            let maps = Arc::new(MapCount::default());
            maps.add();
            let other = maps.clone();
            let mapper = thread::spawn(move || other.add());
            let left = maps.put();
            mapper.join().unwrap();
            assert!(matches!(left, Left::Some | Left::None));
            assert_eq!(maps.get(), 1);
        },
        &[Mutant::UnmapInTwoSteps],
    );
}

#[test]
fn loom_a_count_that_is_too_high_is_never_the_last() {
    holds_and_catches(
        || {
            let one = Arc::new(Count::full());
            let takers = [one.clone(), one.clone()].map(|count| thread::spawn(move || count.get_another()));
            assert!(one.put() != Left::None, "others have it");
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            assert!(one.put() != Left::None, "it sticks");
        },
        &[Mutant::StickLate],
    );
}
