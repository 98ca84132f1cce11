//! Frames of objects that readers may see.

use foliant_paging::Epoch;
use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::super::limbo::Limbo;
use super::super::mutant::Mutant;
use super::super::shape::Shape;
use super::super::shard::{Ground, Shard};
use super::holds_and_catches;
use super::world::{Ram, Word};

struct World {
    ram: Ram,
    shape: Shape,
    shard: Shard,
    limbo: Limbo,
    readers: Epoch,
    /// Where a reader finds the slab's object; zero once it is not there.
    published: AtomicU32,
    /// The slab's bytes.
    content: Word,
}

impl World {
    fn new() -> Self {
        Self {
            ram: Ram::default(),
            shape: Ram::shape(),
            shard: Shard::default(),
            limbo: Limbo::default(),
            readers: Epoch::new(1),
            published: AtomicU32::new(1),
            content: Word::default(),
        }
    }

    fn ground(&self) -> Ground<'_, Ram> {
        Ground {
            frames: &self.ram,
            shape: &self.shape,
        }
    }

    /// Gives the frames back whose grace period is over, as the cache does;
    /// the next owner writes to them.
    fn release(&self) -> usize {
        let all = self.limbo.take();
        let (mut over, rest) = self.limbo.sort(all, self.ground(), &self.readers);
        self.limbo.put_back(rest, self.ground());
        let mut released = 0;
        while let Some(page) = over.pop(self.ground()) {
            page.end();
            self.content.write(7);
            released += 1;
        }
        released
    }
}

#[test]
fn loom_frames_are_not_given_back_under_a_reader() {
    holds_and_catches(
        || {
            let world = Arc::new(World::new());
            let page = Ram::slab(world.ground(), 1, 0);
            world.shard.adopt(world.ground(), page);
            let reader = world.clone();
            let reading = thread::spawn(move || {
                let pin = reader.readers.pin(0);
                if reader.published.load(Ordering::Acquire) == 1 {
                    assert_eq!(reader.content.read(), 0, "the frame has another owner");
                }
                drop(pin);
            });
            // The object is taken out of sight as its slab is unlisted.
            world.limbo.retire(world.ground(), &world.readers, || {
                world.readers.advance();
                world.readers.advance();
                world.published.store(0, Ordering::Release);
                world.shard.trim(world.ground(), false)
            });
            let mut released = 0;
            for _ in 0..3 {
                released += world.release();
            }
            reading.join().unwrap();
            for _ in 0..3 {
                released += world.release();
            }
            assert_eq!((released, world.limbo.len()), (1, 0));
        },
        &[Mutant::ReleaseAtOnce, Mutant::StampEarly],
    );
}
