//! Slabs that are freed to while they change hands.

use foliant_platform::sync::Arc;
use foliant_units::Pfn;
use loom::thread;

use super::super::batch::Batch;
use super::super::find::Located;
use super::super::mutant::Mutant;
use super::super::page::{Frames, Kind, Place};
use super::super::shape::Shape;
use super::super::shard::{Ground, Shard};
use super::holds_and_catches;
use super::world::Ram;

struct World {
    ram: Ram,
    shape: Shape,
    shards: [Shard; 2],
}

impl World {
    fn new() -> Self {
        Self {
            ram: Ram::default(),
            shape: Ram::shape(),
            shards: Default::default(),
        }
    }

    fn ground(&self) -> Ground<'_, Ram> {
        Ground {
            frames: &self.ram,
            shape: &self.shape,
        }
    }

    /// Adds a slab of which `used` objects are taken.
    fn add(&self, pfn: u64, shard: u32, used: usize) {
        let page = Ram::slab(self.ground(), pfn, shard);
        if used > 0 {
            page.take(used, &mut Batch::new());
        }
        self.shards[shard as usize].adopt(self.ground(), page);
    }

    /// Frees an object as the cache does: read the shard, lock it, read again.
    fn free(&self, pfn: u64, index: u32) {
        let pfn = Pfn::new(pfn);
        let head = self.ram.record(pfn);
        loop {
            let own = Place::of(head).shard;
            let mut locked = self.shards[own as usize].lock();
            if locked.owns(head, own) {
                let place = Located { head, pfn, index };
                assert!(locked.put(self.ground(), place), "a double free");
                return;
            }
        }
    }

    /// Moves a slab with free objects from shard 0 to shard 1.
    fn steal(&self) -> bool {
        let Some(page) = self.shards[0].steal(self.ground(), 1) else {
            return false;
        };
        self.shards[1].adopt(self.ground(), page);
        true
    }

    /// Checks both shards; returns slabs and objects in use.
    fn audit(&self) -> (usize, u32) {
        let (mut slabs, mut used) = (0, 0);
        for (own, shard) in self.shards.iter().enumerate() {
            shard.each(self.ground(), |page, kind| {
                assert!(slabs < 3, "a list goes round");
                slabs += 1;
                used += page.in_use();
                assert_eq!(page.proper_kind(), kind, "in the wrong list");
                let free: u32 = (0..2).map(|index| u32::from(page.is_free(index))).sum();
                assert_eq!(page.in_use() + free, 2, "the count is wrong");
                let place = Place::of(page.record);
                assert_eq!((place.shard as usize, place.kind), (own, kind));
            });
        }
        (slabs, used)
    }
}

#[test]
fn loom_an_object_is_freed_to_whoever_has_its_slab_now() {
    holds_and_catches(
        || {
            let world = Arc::new(World::new());
            // Freeing its last object moves the slab from one list to another.
            world.add(1, 0, 1);
            let other = world.clone();
            let thief = thread::spawn(move || other.steal());
            world.free(1, 0);
            thief.join().unwrap();
            assert_eq!(world.audit(), (1, 0));
        },
        &[Mutant::ShardOnce, Mutant::StealUnlocked],
    );
}

#[test]
fn loom_frees_from_two_cpus_to_one_slab_are_both_counted() {
    holds_and_catches(
        || {
            let world = Arc::new(World::new());
            world.add(1, 0, 2);
            let other = world.clone();
            let remote = thread::spawn(move || other.free(1, 0));
            world.free(1, 1);
            remote.join().unwrap();
            assert_eq!(world.audit(), (1, 0));
        },
        &[],
    );
}

#[test]
fn loom_a_slab_that_is_given_back_is_in_no_list() {
    holds_and_catches(
        || {
            let world = Arc::new(World::new());
            world.add(1, 0, 0);
            world.add(2, 0, 1);
            let other = world.clone();
            let user = thread::spawn(move || {
                let mut batch = Batch::new();
                other.shards[0].lock().take(other.ground(), 1, &mut batch);
                batch.as_slice().len()
            });
            let mut chain = world.shards[0].trim(world.ground(), false);
            let (mut released, mut wrong) = (0, 0);
            while let Some(page) = chain.pop(world.ground()) {
                let listed = Place::of(page.record).kind != Kind::Transit;
                wrong += u32::from(listed || page.in_use() > 0);
                page.end();
                released += 1;
            }
            assert_eq!(user.join().unwrap(), 1);
            assert_eq!(wrong, 0, "given back while it was in a list");
            let (slabs, used) = world.audit();
            assert_eq!((slabs + released, used), (2, 2));
        },
        &[Mutant::ReleaseListed],
    );
}
