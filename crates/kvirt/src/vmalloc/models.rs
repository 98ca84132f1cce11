//! The protocols of addresses under `loom`, with mistakes that must be caught.
#![allow(clippy::unwrap_used)]

extern crate std;

use alloc::vec::Vec;

use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use foliant_units::{Pfn, Vpn, VpnRange};
use loom::thread;

use super::block::{BLOCK_PAGES, Block, Fate};
use super::book::Held;
use super::space::{VaSpace, Want};
use crate::mutant::{Mutant, holds_and_catches};

const PAGES: u64 = 4;

/// Addresses of four pages, and a TLB that may hold each of them.
struct World {
    space: VaSpace<u32>,
    stale: Vec<AtomicBool>,
    paid: AtomicU32,
}

impl World {
    fn new(limit: u64) -> Arc<Self> {
        let pages = VpnRange::new(Vpn::ZERO, Vpn::new(PAGES));
        Arc::new(Self {
            space: VaSpace::cut(pages, PAGES, 0, limit),
            stale: (0..PAGES).map(|_| AtomicBool::new(false)).collect(),
            paid: AtomicU32::new(0),
        })
    }

    fn reserve(&self, pages: u64) -> Option<VpnRange> {
        let want = Want {
            pages,
            align: 1,
            cpu: 0,
        };
        let found = self.space.reserve(want)?;
        for page in found.iter() {
            let stale = self.stale[page.index()].load(Ordering::Relaxed);
            assert!(!stale, "{page:?} is used again before its flush");
        }
        Some(found)
    }

    fn retire(&self, pages: VpnRange) {
        for page in pages.iter() {
            self.stale[page.index()].store(true, Ordering::Relaxed);
        }
        let held = Held { pages, area: 1 };
        self.space
            .retire(held, |ranges| self.flush(ranges), |area| self.pay(area));
    }

    fn purge(&self) {
        self.space
            .purge_all(|ranges| self.flush(ranges), |area| self.pay(area));
    }

    fn flush(&self, ranges: &[VpnRange]) {
        for page in ranges.iter().flat_map(|range| range.iter()) {
            self.stale[page.index()].store(false, Ordering::Relaxed);
        }
    }

    fn pay(&self, area: &mut u32) {
        self.paid.fetch_add(*area, Ordering::Relaxed);
    }
}

#[test]
fn loom_pages_are_used_again_only_after_their_flush() {
    holds_and_catches(
        || {
            let world = World::new(0);
            let first = world.reserve(2).unwrap();
            let other = world.clone();
            let thread = thread::spawn(move || {
                if let Some(pages) = other.reserve(3) {
                    other.retire(pages);
                }
            });
            world.retire(first);
            thread.join().unwrap();
            assert!(world.reserve(PAGES).is_some());
        },
        &[Mutant::GiveBeforeFlush],
    );
}

#[test]
fn loom_who_finds_no_addresses_waits_for_the_purge_under_way() {
    holds_and_catches(
        || {
            let world = World::new(0);
            let all = world.reserve(PAGES).unwrap();
            let gone = Arc::new(AtomicBool::new(false));
            let (other, told) = (world.clone(), gone.clone());
            let thread = thread::spawn(move || {
                // Says that the area is unmapped before it waits for its flush.
                let held = Held { pages: all, area: 1 };
                other.space.retire(
                    held,
                    |ranges| {
                        told.store(true, Ordering::Release);
                        other.flush(ranges);
                    },
                    |area| other.pay(area),
                );
            });
            if gone.load(Ordering::Acquire) {
                let found = world.reserve(1).or_else(|| {
                    world.purge();
                    world.reserve(1)
                });
                assert!(found.is_some(), "the pages were on their way back");
            }
            thread.join().unwrap();
            assert_eq!(world.paid.load(Ordering::Relaxed), 1);
        },
        &[Mutant::PurgeWithoutTurn],
    );
}

#[test]
fn loom_two_purges_give_each_area_back_once() {
    holds_and_catches(
        || {
            let world = World::new(100);
            let one = world.reserve(2).unwrap();
            let two = world.reserve(2).unwrap();
            world.retire(one);
            let other = world.clone();
            let thread = thread::spawn(move || {
                other.retire(two);
                other.purge();
            });
            world.purge();
            thread.join().unwrap();
            assert_eq!(world.paid.load(Ordering::Relaxed), 2);
            assert_eq!(world.space.free_pages(), PAGES);
        },
        &[],
    );
}

#[test]
fn loom_an_area_is_found_while_zones_change_hands() {
    holds_and_catches(
        || {
            let pages = VpnRange::new(Vpn::ZERO, Vpn::new(8));
            let space = Arc::new(VaSpace::cut(pages, 8, 1, 0));
            let want = |pages| Want {
                pages,
                align: 1,
                cpu: 0,
            };
            // The only zone is the CPU's, and nothing is in it.
            let first = space.reserve(want(1)).unwrap();
            let held = Held {
                pages: first,
                area: 1,
            };
            space.retire(held, |_| (), |_| ());
            let other = space.clone();
            let thread = thread::spawn(move || other.return_zones());
            // Too large for the CPU's share.
            if let Some(found) = space.reserve(want(8)) {
                space.publish(found, 2);
                assert!(space.with(found.start, |held| held.area).is_some());
                let held = space.remove_if(found.start, |_| true);
                assert!(held.is_some(), "the area is in a book where nobody looks");
            }
            thread.join().unwrap();
        },
        &[Mutant::ZoneBeforeOwner],
    );
}

#[test]
fn loom_parts_of_a_block_do_not_overlap() {
    holds_and_catches(
        || {
            let block = Arc::new(Block::default());
            let other = block.clone();
            let thread = thread::spawn(move || other.take(2));
            let mine = block.take(2).unwrap();
            let theirs = thread.join().unwrap().unwrap();
            assert!(mine.abs_diff(theirs) >= 2, "{mine} and {theirs}");
        },
        &[Mutant::BlockInTwoSteps],
    );
}

#[test]
fn loom_one_of_those_who_leave_retires_the_block() {
    holds_and_catches(
        || {
            let block = Arc::new(Block::default());
            let half = BLOCK_PAGES / 2;
            block.take(half).unwrap();
            block.take(half).unwrap();
            assert_eq!(block.close(), Fate::Lives);
            let other = block.clone();
            let thread = thread::spawn(move || other.give(half, [Pfn::new(1)]));
            let mine = block.give(half, [Pfn::new(2)]);
            let theirs = thread.join().unwrap();
            assert_ne!(mine, theirs, "nobody retires it, or both do");
            assert_eq!(block.take_waiting().len(), 2);
        },
        &[Mutant::RetireTwice],
    );
}

#[test]
fn loom_a_block_that_is_closed_while_its_last_part_leaves_is_retired_once() {
    holds_and_catches(
        || {
            let block = Arc::new(Block::default());
            block.take(1).unwrap();
            let other = block.clone();
            let thread = thread::spawn(move || other.give(1, []));
            let mine = block.close();
            let theirs = thread.join().unwrap();
            assert_ne!(mine, theirs);
        },
        &[],
    );
}
