//! Searches over two blocks while folios come back.

use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, Pfn, PfnRange};
use loom::thread;

use super::{holds_and_catches, within};
use crate::alloc::{Batch, BlockKind, Blocks, Entry, Hints, Level, Lines, Mobility, Want, Whole, map_of};
use crate::boot::NodeId;
use crate::mutant::Mutant;
use crate::ram::Table;
use crate::zone::{Zone, ZoneId, ZoneKind};

pub(super) struct Memory {
    pub(super) blocks: Blocks,
    pub(super) zone: Zone,
}

impl Memory {
    /// Two blocks, all in use.
    pub(super) fn full() -> Self {
        let zone = Zone::new(ZoneId::default(), ZoneKind::Normal, NodeId(0));
        zone.grow(PfnRange::new(Pfn::ZERO, Pfn::new(1024)));
        let blocks = Blocks {
            lines: Lines::leaked(2),
            used: Lines::leaked(2),
            tags: Table::leaked(2),
            hints: Hints::new(Table::leaked(Hints::words(2))),
            whole: Whole::new(Table::leaked(Whole::words(2))),
            ram_was_zeroed: false,
        };
        (0..2).for_each(|block: usize| blocks.tags[block].set_zone(zone.id()));
        Self { blocks, zone }
    }

    pub(super) fn free(&self, at: u64, order: Order) {
        self.blocks
            .put(&self.zone, &[Entry::new(Pfn::new(at), false)], order, |pfn| {
                panic!("{pfn:?} twice")
            });
    }

    pub(super) fn take(&self, order: u8, everywhere: bool) -> Vec<u64> {
        let order = Order::new(order).unwrap();
        let want = Want {
            order,
            mobility: Mobility::Unmovable,
            count: 1,
        };
        let mut batch = Batch::new();
        self.blocks.search(&self.zone, want, None, &mut batch);
        if batch.is_empty() && everywhere {
            self.blocks.search_all(&self.zone, want, &mut batch);
        }
        let frames = |entry: &Entry| entry.pfn().raw()..entry.pfn().raw() + order.frames();
        batch.as_slice().iter().flat_map(frames).collect()
    }

    pub(super) fn count(&self) -> u32 {
        (0..2).map(|block| self.blocks.count(block)).sum()
    }
}

pub(super) type Vec<T> = std_alloc::vec::Vec<T>;

pub(super) fn disjoint(one: &[u64], two: &[u64]) -> bool {
    one.iter().all(|frame| !two.contains(frame))
}

#[test]
fn loom_a_pair_and_a_block_are_not_taken_together() {
    holds_and_catches(
        || {
            let memory = Memory::full();
            memory.free(0, Order::PMD);
            memory.free(512, Order::PMD);
            let one = Arc::new(memory);
            let two = one.clone();
            let other = thread::spawn(move || two.take(10, false));
            let block = one.take(9, false);
            let pair = other.join().unwrap();
            assert!(disjoint(&block, &pair));
            assert_eq!(one.count() as usize + block.len() + pair.len(), 1024);
        },
        &[Mutant::WholeTakeStores],
    );
}

#[test]
fn loom_a_search_everywhere_finds_what_came_back() {
    holds_and_catches(
        || {
            let memory = Memory::full();
            memory.free(3, Order::ZERO);
            let one = Arc::new(memory);
            let two = one.clone();
            let other = thread::spawn(move || {
                two.free(4, Order::ZERO);
                two.take(0, true)
            });
            let mine = one.take(0, true);
            let theirs = other.join().unwrap();
            assert!(disjoint(&mine, &theirs));
            assert_eq!((mine.len(), theirs.len(), one.count()), (1, 1, 0));
        },
        &[Mutant::ClaimStores],
    );
}

#[test]
fn loom_a_block_stands_in_one_map() {
    holds_and_catches(
        || {
            let one = Arc::new(Memory::full());
            let two = one.clone();
            let mover = thread::spawn(move || two.blocks.move_level(&two.zone, 0, Level::Full, Level::Low));
            let mine = one.blocks.move_level(&one.zone, 0, Level::Full, Level::High);
            let theirs = mover.join().unwrap();
            assert!(mine != theirs, "one of them moved it");
            let level = one.blocks.tags[0].level();
            for other in [Level::Low, Level::High] {
                let hinted = map_of(BlockKind::Of(Mobility::Unmovable), other)
                    .and_then(|map| one.blocks.hints.next(&one.zone, map, 0));
                assert_eq!(hinted.is_some(), level == other);
            }
        },
        &[Mutant::LevelStores],
    );
}

#[test]
fn loom_nothing_leaves_an_isolated_block() {
    holds_and_catches(
        || {
            let memory = Memory::full();
            memory.free(3, Order::ZERO);
            let one = Arc::new(memory);
            let two = one.clone();
            let taker = thread::spawn(move || two.take(0, false));
            let claim = one.blocks.tags[0].claim();
            assert!(one.blocks.rekind(&claim, &one.zone, 0, |tag| tag.isolate()));
            drop(claim);
            let after = one.count();
            let taken = taker.join().unwrap();
            assert_eq!(one.count(), after, "a frame left a closed block");
            assert_eq!(taken.len() as u32 + after, 1);
        },
        &[Mutant::KindBeforeClaim],
    );
}

#[test]
fn loom_neighbours_keep_their_hints() {
    holds_and_catches(
        || {
            let one = Arc::new(Memory::full());
            let two = one.clone();
            let mover = thread::spawn(move || two.blocks.move_level(&two.zone, 1, Level::Full, Level::Low));
            assert!(one.blocks.move_level(&one.zone, 0, Level::Full, Level::Low));
            assert!(mover.join().unwrap());
            let map = map_of(BlockKind::Of(Mobility::Unmovable), Level::Low).unwrap();
            let hinted = |from| one.blocks.hints.next(&one.zone, map, from);
            assert_eq!((hinted(0), hinted(1)), (Some(0), Some(1)));
            (0..2).for_each(|block| {
                one.blocks.move_level(&one.zone, block, Level::Low, Level::Full);
            });
            assert_eq!(hinted(0), None, "the count of hints is wrong");
        },
        &[Mutant::HintInTwoSteps],
    );
}

#[test]
fn loom_a_block_is_set_aside_once_and_stays_as_full_as_it_is() {
    within(
        2,
        || {
            let one = Arc::new(Memory::full());
            let set_aside = |memory: &Memory| {
                let claim = memory.blocks.tags[0].claim();
                memory
                    .blocks
                    .rekind(&claim, &memory.zone, 0, |tag| tag.set_high_atomic())
            };
            let two = one.clone();
            let other = thread::spawn(move || set_aside(&two));
            assert!(one.blocks.tags[0].move_level(Level::Full, Level::Mid));
            let mine = set_aside(&one);
            assert!(mine != other.join().unwrap(), "it would be counted twice, or not");
            let tag = &one.blocks.tags[0];
            assert_eq!((tag.kind(), tag.level()), (BlockKind::HighAtomic, Level::Mid));
        },
        &[Mutant::KindInTwoSteps],
    );
}

#[test]
fn loom_frames_of_an_area_are_counted_once() {
    within(
        2,
        || {
            let memory = Memory::full();
            memory.free(0, Order::PMD);
            let one = Arc::new(memory);
            let two = one.clone();
            let other = thread::spawn(move || {
                // As the allocator counts what comes back to an area.
                let taken = two.take(0, false);
                taken.iter().for_each(|&frame| {
                    let is_cma = two.blocks.tags[0].is_cma();
                    two.zone.free_cma.fetch_add(is_cma.into(), Ordering::Relaxed);
                    two.free(frame, Order::ZERO);
                });
            });
            let made = one.blocks.make_area(0..1, |block, change| {
                let claim = one.blocks.tags[block].claim();
                one.blocks.rekind(&claim, &one.zone, block, change)
            });
            other.join().unwrap();
            assert_eq!(one.zone.free_cma(), 0, "a frame that is not lent came back");
            let kind = one.blocks.tags[0].kind();
            assert_eq!(kind == BlockKind::Cma, made);
            assert_eq!(kind.mobility().is_some(), !made, "it opens again");
        },
        &[Mutant::AreaOpen],
    );
}
