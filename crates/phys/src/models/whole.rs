//! Blocks that are free from end to end, between the map of them and their lines.

use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::Order;
use loom::thread;

use super::blocks::{Memory, disjoint};
use super::world::Word;
use super::{holds_and_catches, within};
use crate::alloc::Some64;
use crate::mutant::Mutant;

impl Memory {
    /// One block free but for its first frame, another in use.
    fn all_but_one() -> Arc<Self> {
        let memory = Self::full();
        for raw in 0..9 {
            let order = Order::new(raw).unwrap();
            memory.free(order.frames(), order);
        }
        Arc::new(memory)
    }

    /// One whole block, another in use.
    fn with_one() -> Arc<Self> {
        let memory = Self::full();
        memory.free(0, Order::PMD);
        Arc::new(memory)
    }

    fn assert_in_one_place(&self) {
        let (map, line) = (self.blocks.whole.has(0), &self.blocks.lines[0]);
        assert!(!map || line.is_used_up(), "in the map and in the line");
    }
}

#[test]
fn loom_a_whole_block_comes_from_the_map_with_its_content() {
    holds_and_catches(
        || {
            // The block is in use by this thread, as one folio.
            let one = Arc::new((Memory::full(), Word::default()));
            let two = one.clone();
            let taker = thread::spawn(move || {
                let taken = two.0.take(9, false);
                if !taken.is_empty() {
                    two.1.write();
                }
                taken.len() as u32
            });
            one.1.write();
            one.0.free(0, Order::PMD);
            let taken = taker.join().unwrap();
            assert_eq!(one.0.count() + taken, 512);
        },
        &[Mutant::WholePutRelaxed, Mutant::WholeTakeRelaxed],
    );
}

#[test]
fn loom_neighbours_in_the_map_do_not_lose_each_other() {
    holds_and_catches(
        || {
            let one = Arc::new(Memory::full());
            let two = one.clone();
            let both = |memory: &Memory, block: usize| {
                memory.blocks.whole.mark_stale(Some64::one(block));
                memory.blocks.give_whole(&memory.zone, Some64::one(block));
            };
            let other = thread::spawn(move || both(&two, 1));
            both(&one, 0);
            other.join().unwrap();
            assert_eq!((one.count(), one.zone.hinted_whole()), (1024, 2));
            let whole = &one.blocks.whole;
            assert!(whole.forget_stale(0) && whole.forget_stale(1));
        },
        &[Mutant::WholePutStores, Mutant::StaleStores],
    );
}

#[test]
fn loom_a_block_that_is_closed_while_it_comes_back_is_not_in_the_map() {
    within(
        2,
        || {
            let one = Arc::new(Memory::full());
            let two = one.clone();
            let other = thread::spawn(move || two.free(0, Order::PMD));
            let claim = one.blocks.tags[0].claim();
            assert!(one.blocks.rekind(&claim, &one.zone, 0, |tag| tag.isolate()));
            drop(claim);
            other.join().unwrap();
            assert!(!one.blocks.whole.has(0), "closed, and there to be taken");
            assert_eq!(one.count(), 512);
        },
        &[Mutant::PutWithoutLook],
    );
}

#[test]
fn loom_a_block_that_was_closed_before_it_came_back_is_not_taken() {
    within(
        2,
        || {
            let one = Arc::new((Memory::full(), AtomicU32::new(0)));
            let (two, three) = (one.clone(), one.clone());
            let other = thread::spawn(move || {
                two.1.store(1, Ordering::Relaxed);
                two.0.free(0, Order::PMD);
            });
            let taker = thread::spawn(move || three.0.take(9, false).len() as u32);
            let claim = one.0.blocks.tags[0].claim();
            assert!(one.0.blocks.rekind(&claim, &one.0.zone, 0, |tag| tag.isolate()));
            drop(claim);
            let was_early = one.1.load(Ordering::Relaxed) == 0;
            other.join().unwrap();
            let taken = taker.join().unwrap();
            assert!(taken == 0 || !was_early, "taken out of a closed block");
            assert_eq!(one.0.count() + taken, 512);
        },
        &[Mutant::TakeWithoutLook],
    );
}

#[test]
fn loom_a_block_that_comes_free_is_in_one_place() {
    within(
        2,
        || {
            let one = Memory::all_but_one();
            let two = one.clone();
            let other = thread::spawn(move || two.take(0, true));
            one.free(0, Order::ZERO);
            let taken = other.join().unwrap();
            assert_eq!((one.count() as usize + taken.len(), taken.len()), (512, 1));
            one.assert_in_one_place();
        },
        &[Mutant::ClaimShared],
    );
}

#[test]
fn loom_a_block_that_is_opened_up_serves_everybody() {
    within(
        2,
        || {
            let one = Memory::with_one();
            let two = one.clone();
            let other = thread::spawn(move || two.take(0, true));
            let mine = one.take(0, true);
            let theirs = other.join().unwrap();
            assert!(disjoint(&mine, &theirs));
            assert_eq!((mine.len(), theirs.len(), one.count()), (1, 1, 510));
            one.assert_in_one_place();
        },
        &[Mutant::LookPastClaim],
    );
}
