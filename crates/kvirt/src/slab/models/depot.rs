//! Objects that one CPU frees and another allocates.

use foliant_platform::sync::Arc;
use loom::thread;

use super::super::batch::Batch;
use super::super::depot::Depot;
use super::super::mutant::Mutant;
use super::holds_and_catches;
use super::world::{Word, number, object};

#[derive(Default)]
struct World {
    depot: Depot,
    words: [Word; 3],
}

impl World {
    /// Uses an object and frees it to the depot.
    fn give(&self, at: usize) {
        self.words[at].write(1);
        assert_eq!(self.depot.put(&[object(at)], 8), 1, "the depot has room");
    }

    /// Takes an object and uses it; a bit for which it was.
    fn take(&self) -> u32 {
        let mut batch = Batch::new();
        self.depot.take(1, &mut batch);
        batch.pop().map_or(0, |object| {
            self.words[number(object)].write(2);
            1 << number(object)
        })
    }
}

#[test]
fn loom_an_object_that_is_freed_elsewhere_comes_once_and_with_all_that_was_done() {
    holds_and_catches(
        || {
            let world = Arc::new(World::default());
            world.give(0);
            let other = world.clone();
            let remote = thread::spawn(move || {
                other.give(1);
                other.take()
            });
            let mine = world.take();
            world.give(2);
            let theirs = remote.join().unwrap();
            let mut left = 0;
            world.depot.each(|object| left |= 1 << number(object));
            assert_eq!(mine & theirs, 0, "an object was given to both");
            assert_eq!((mine | theirs) & left, 0, "an object was given and kept");
            let given_again = mine & 0b100;
            assert_eq!(given_again, 0);
            assert_eq!(mine | theirs | left, 0b111, "an object was lost");
        },
        &[Mutant::DepotUnlocked],
    );
}
