//! Tables against a map of pages.

#![allow(clippy::unwrap_used)]

extern crate std;

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::vec::Vec;

use foliant_arch::x86_64::{Absent, Markers, Pte, PteFlags, X86_64};
use foliant_arch::{Entry, Format, Level};
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::model_store::{ModelStore, Tiny};
use crate::{GatherOf, Missing, Tree};

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);

fn tree(tables: u32) -> Tree<ModelStore, X86_64> {
    Tree::in_store(ModelStore::new(tables, 512))
}

fn pte(frame: u64) -> Pte {
    Pte::new(Pfn::new(frame), RW)
}

fn pages(start: u64, end: u64) -> VpnRange {
    VpnRange::new(Vpn::new(start), Vpn::new(end))
}

fn map<F: Format<Entry = Pte>>(tree: &Tree<ModelStore, F>, page: u64, entry: Pte) {
    let mut leaf = tree
        .lock_leaf(Vpn::new(page), Missing::Allocate)
        .unwrap()
        .unwrap();
    leaf.replace(Vpn::new(page), entry);
}

fn clean<S: crate::Store, F: Format>(tree: &Tree<S, F>) {
    let mut found = Vec::new();
    tree.audit(&mut |violation| found.push(violation));
    assert_eq!(found, []);
}

/// Takes everything out of `range`, with all its frames and tables.
fn unmap<F: Format<Entry = Pte>>(tree: &Tree<ModelStore, F>, range: VpnRange) {
    let mut gather = GatherOf::new(tree);
    tree.edit_range(range, &mut gather, |leaf, part, gather| {
        let mut at = part.start;
        while at < part.end {
            if !gather.has_room() {
                return at;
            }
            let old = leaf.take(at);
            if old.is_present() {
                gather.frame(old.frame()).unwrap();
                gather.removed(VpnRange::new(at, at + 1));
            }
            at += 1;
        }
        part.end
    });
    tree.free_range(range, &mut gather);
    gather.finish();
}

#[test]
fn what_is_set_is_found() {
    let tree = tree(8);
    map(&tree, 0x12345, pte(7));
    assert_eq!(tree.get(Vpn::new(0x12345)), pte(7));
    assert_eq!(tree.get(Vpn::new(0x12346)), Pte::EMPTY);
    assert_eq!(tree.look_up(Vpn::new(0x8_0000)), (Pte::EMPTY, Level::PUD));
    assert_eq!(tree.look_up(Vpn::new(1 << 35)), (Pte::EMPTY, Level::PGD));
    assert_eq!(tree.table_bytes(), 3 * 4096);
    clean(&tree);
}

#[test]
fn a_missing_table_is_skipped_or_made_as_asked() {
    let tree = tree(8);
    assert!(tree.lock_leaf(Vpn::new(5), Missing::Skip).unwrap().is_none());
    assert_eq!(tree.table_bytes(), 0);
    let leaf = tree.lock_leaf(Vpn::new(5), Missing::Allocate).unwrap().unwrap();
    assert_eq!(
        (leaf.level(), leaf.range(), leaf.live()),
        (Level::PTE, pages(0, 512), 0)
    );
}

#[test]
fn a_range_is_visited_table_by_table() {
    let tree = tree(16);
    map(&tree, 600, pte(1));
    map(&tree, 5000, pte(2));
    let mut seen = Vec::new();
    let result = tree.for_each_leaf(pages(10, 5001), Missing::Skip, |leaf, part| {
        seen.push((part, leaf.entries(part).collect::<Vec<_>>()));
        ControlFlow::<()>::Continue(())
    });
    assert!(matches!(result, Ok(ControlFlow::Continue(()))));
    assert_eq!(
        seen,
        [
            (pages(512, 1024), std::vec![(Vpn::new(600), pte(1))]),
            (pages(4608, 5001), std::vec![(Vpn::new(5000), pte(2))]),
        ]
    );
}

#[test]
fn empty_tables_go_after_the_flush_and_the_others_stay() {
    let tree = tree(16);
    for page in [0, 511, 512, 0x4_0000] {
        map(&tree, page, pte(page + 100));
    }
    assert_eq!(tree.tables(Level::PTE), 3);
    unmap(&tree, pages(0, 1024));
    assert_eq!(tree.tables(Level::PTE), 1);
    assert_eq!(
        tree.tables(Level::PMD),
        2,
        "the range is smaller than the directory"
    );
    let mut gather = GatherOf::new(&tree);
    tree.free_range(pages(0, 0x4_0000), &mut gather);
    gather.finish();
    assert_eq!(tree.tables(Level::PMD), 1);
    assert_eq!(tree.waiting(), 0);
    let flushes = tree.store().flushes.lock();
    assert!(flushes[0].tables_freed && flushes[0].ranges.contains(&pages(0, 1024)));
    drop(flushes);
    let mut put = tree.store().put.lock().clone();
    put.sort();
    assert_eq!(put, [Pfn::new(100), Pfn::new(611), Pfn::new(612)]);
    clean(&tree);
}

#[test]
fn a_table_that_is_not_empty_or_not_wholly_inside_stays() {
    let tree = tree(16);
    map(&tree, 3, Absent::Marker(Markers::GUARD).encode());
    map(&tree, 600, pte(1));
    let mut gather = GatherOf::new(&tree);
    tree.free_range(pages(0, 512), &mut gather);
    assert_eq!(tree.tables(Level::PTE), 2);
    tree.lock_leaf(Vpn::new(600), Missing::Skip)
        .unwrap()
        .unwrap()
        .take(Vpn::new(600));
    tree.free_range(pages(513, 1024), &mut gather);
    assert_eq!(tree.tables(Level::PTE), 2);
    tree.free_range(pages(512, 1024), &mut gather);
    assert_eq!(tree.tables(Level::PTE), 1);
    gather.finish();
    clean(&tree);
}

#[test]
fn a_reader_delays_the_end_of_tables() {
    let tree = tree(16);
    map(&tree, 7, pte(1));
    let free = tree.store().free_tables();
    let reader = tree.reader();
    unmap(&tree, pages(0, 1 << 30));
    assert_eq!(tree.table_bytes(), 0);
    assert_eq!((tree.waiting(), tree.store().free_tables()), (3, free));
    drop(reader);
    tree.collect();
    assert_eq!((tree.waiting(), tree.store().free_tables()), (0, free + 3));
}

#[test]
fn bits_that_the_hardware_sets_are_not_lost() {
    let tree = tree(8);
    map(&tree, 1, pte(9));
    let mut leaf = tree.lock_leaf(Vpn::new(1), Missing::Skip).unwrap().unwrap();
    let seen = leaf.get(Vpn::new(1));
    // The hardware comes between the look and the exchange.
    let touched = Entry::touched(seen, true);
    leaf.replace(Vpn::new(1), touched);
    assert_eq!(leaf.compare_exchange(Vpn::new(1), seen, Pte::EMPTY), Err(touched));
    let (old, new) = leaf.update(Vpn::new(1), |entry| entry.without(PteFlags::WRITE));
    assert!(old.is_dirty() && new.is_dirty() && !new.is_writable());
}

#[test]
fn a_large_mapping_is_found_split_and_taken_out() {
    let tree = tree(16);
    let large = Pte::new(Pfn::new(0x4_0000), RW | PteFlags::LARGE);
    let mut guard = tree
        .lock_level(Vpn::new(512), Level::PMD, Missing::Allocate)
        .unwrap()
        .unwrap();
    assert_eq!(guard.range(), pages(512, 1024));
    guard.set(Vpn::new(512), large);
    drop(guard);
    assert_eq!(tree.get(Vpn::new(515)), pte(0x4_0003));

    let leaf = tree.lock_leaf(Vpn::new(515), Missing::Allocate).unwrap().unwrap();
    assert_eq!(
        (leaf.level(), leaf.range(), leaf.get(Vpn::new(515))),
        (Level::PMD, pages(512, 1024), large)
    );
    drop(leaf);

    let mut gather = GatherOf::new(&tree);
    assert_eq!(tree.split(Vpn::new(515), Level::PMD, &mut gather), Ok(true));
    assert_eq!(tree.split(Vpn::new(515), Level::PMD, &mut gather), Ok(false));
    gather.finish();
    assert_eq!(tree.look_up(Vpn::new(515)), (pte(0x4_0003), Level::PTE));
    assert_eq!(tree.store().flushes.lock()[0].ranges, [pages(512, 1024)]);
    clean(&tree);
    unmap(&tree, pages(0, 1 << 30));
    assert_eq!(tree.store().put.lock().len(), 512);
    clean(&tree);
}

#[test]
fn a_gigabyte_is_mapped_protected_split_twice_and_taken_out() {
    let tree = tree(16);
    let start = Vpn::new(1 << 18);
    let flags = RW | PteFlags::LARGE | PteFlags::PAT | PteFlags::NO_EXECUTE;
    let huge = Pte::new(Pfn::new(1 << 18), flags).with_key(7);
    let mut guard = tree
        .lock_level(start, Level::PUD, Missing::Allocate)
        .unwrap()
        .unwrap();
    guard.set(start, huge);
    let (_, read_only) = guard.update(start, |entry| entry.without(PteFlags::WRITE));
    drop(guard);
    assert_eq!(tree.look_up(start + 1000), (read_only, Level::PUD));

    let mut gather = GatherOf::new(&tree);
    assert_eq!(tree.split(start + 1000, Level::PUD, &mut gather), Ok(true));
    assert_eq!(tree.split(start + 1000, Level::PMD, &mut gather), Ok(true));
    gather.finish();
    let (part, level) = tree.look_up(start + 1000);
    assert_eq!(
        (part.frame(), level, part.key()),
        (Pfn::new((1 << 18) + 1000), Level::PTE, 7)
    );
    assert!(part.is_user() && !part.is_writable() && !part.is_executable());
    assert_eq!(tree.look_up(start + 0x3_0000).1, Level::PMD);
    clean(&tree);

    let mut gather = GatherOf::new(&tree);
    tree.edit_range(pages(1 << 18, 2 << 18), &mut gather, |leaf, part, gather| {
        let step = X86_64::GEOMETRY.entry_pages(leaf.level());
        for nth in 0..part.len() / step {
            leaf.take(part.start + nth * step);
        }
        gather.removed(part);
        part.end
    });
    tree.free_range(pages(0, 1 << 36), &mut gather);
    gather.finish();
    assert_eq!(tree.table_bytes(), 0);
    clean(&tree);
}

#[test]
fn the_exclusive_cursor_makes_the_same_tables() {
    let mut tree = tree(16);
    let mut cursor = tree.exclusive();
    cursor.fill(pages(500, 1030), |page| pte(page.raw())).unwrap();
    cursor.set(Vpn::new(1 << 20), pte(5)).unwrap();
    cursor.update(pages(0, 1 << 21), |page, old| {
        if page.raw() % 2 == 0 { Pte::EMPTY } else { old }
    });
    assert_eq!(cursor.get(Vpn::new(1029)), pte(1029));
    assert_eq!(cursor.get(Vpn::new(5000)), Pte::EMPTY);
    assert_eq!(tree.get(Vpn::new(501)), pte(501));
    assert_eq!(tree.get(Vpn::new(502)), Pte::EMPTY);
    clean(&tree);
}

#[test]
fn a_failing_allocation_leaves_everything_consistent() {
    for credit in 0..4 {
        let tree = tree(16);
        tree.store().set_credit(credit);
        let outcome = tree
            .lock_leaf(Vpn::new(9), Missing::Allocate)
            .map(|leaf| leaf.is_some());
        assert_eq!(outcome.is_ok(), credit >= 3);
        clean(&tree);
        let mut gather = GatherOf::new(&tree);
        tree.free_range(pages(0, 1 << 36), &mut gather);
        gather.finish();
        assert_eq!(tree.store().free_tables(), 15);
    }
    for credit in 0..4 {
        let mut tree = tree(16);
        tree.store().set_credit(credit);
        assert_eq!(tree.exclusive().set(Vpn::new(9), pte(1)).is_ok(), credit >= 3);
        clean(&tree);
    }
}

#[test]
fn a_failing_split_changes_nothing() {
    let tree = tree(16);
    let large = Pte::new(Pfn::new(0x4_0000), RW | PteFlags::LARGE);
    let mut guard = tree
        .lock_level(Vpn::new(512), Level::PMD, Missing::Allocate)
        .unwrap()
        .unwrap();
    guard.set(Vpn::new(512), large);
    drop(guard);
    tree.store().set_credit(0);
    let mut gather = GatherOf::new(&tree);
    assert!(tree.split(Vpn::new(512), Level::PMD, &mut gather).is_err());
    assert!(gather.is_empty());
    assert_eq!(tree.look_up(Vpn::new(512)), (large, Level::PMD));
    clean(&tree);
}

#[test]
fn many_ranges_are_joined_where_the_gap_is_smallest() {
    let tree = tree(16);
    let mut gather = GatherOf::new(&tree);
    for nth in 0..16 {
        gather.removed(pages(nth * 100, nth * 100 + 10));
    }
    gather.removed(pages(1520, 1530));
    gather.removed(pages(5000, 5001));
    gather.finish();
    let flushes = tree.store().flushes.lock();
    let ranges = &flushes[0].ranges;
    assert_eq!(ranges.len(), 16);
    assert!(ranges.contains(&pages(1500, 1530)) && ranges.contains(&pages(5000, 5001)));
    let joined = [pages(0, 110), pages(200, 210)];
    assert_eq!(ranges[..2], joined);
}

#[test]
fn a_full_gather_pays_and_goes_on() {
    let tree = tree(16);
    for page in 0..512 {
        // Frames that do not follow each other need a place each.
        map(&tree, page, pte(1000 + page * 2));
    }
    unmap(&tree, pages(0, 512));
    assert_eq!(tree.store().put.lock().len(), 512);
    assert!(tree.store().flushes.lock().len() > 1);
    assert_eq!(tree.table_bytes(), 3 * 4096 - 4096);
}

/// A generator of numbers, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Random operations on a small address space must do what they do on a map.
fn run_random<F: Format<Entry = Pte>>(tree: &Tree<ModelStore, F>, space: u64, seed: u64, steps: u32) {
    let mut numbers = Numbers(seed);
    let mut model = BTreeMap::new();
    for _ in 0..steps {
        let page = numbers.below(space);
        let end = (page + 1 + numbers.below(space / 3 + 1)).min(space);
        match numbers.below(4) {
            0 | 1 => {
                let entry = pte(numbers.below(1 << 20));
                map(tree, page, entry);
                model.insert(page, entry);
            }
            2 => {
                unmap(tree, pages(page, end));
                model.retain(|&at, _| !(page..end).contains(&at));
            }
            _ => {
                let mut gather = GatherOf::new(tree);
                tree.edit_range(pages(page, end), &mut gather, |leaf, part, gather| {
                    for at in part.iter() {
                        leaf.update(at, |old| {
                            if old.is_empty() {
                                old
                            } else {
                                old.without(PteFlags::WRITE)
                            }
                        });
                    }
                    gather.demoted(part);
                    part.end
                });
                gather.finish();
                for (_, entry) in model.range_mut(page..end) {
                    *entry = entry.without(PteFlags::WRITE);
                }
            }
        }
        clean(tree);
        for at in 0..space {
            let expected = model.get(&at).copied().unwrap_or(Pte::EMPTY);
            assert_eq!(tree.get(Vpn::new(at)), expected, "page {at} of seed {seed}");
        }
    }
}

#[test]
fn random_operations_agree_with_a_map() {
    for seed in 0..200 {
        run_random(&Tree::<_, Tiny>::in_store(ModelStore::new(8, 2)), 8, seed, 40);
    }
    for seed in 0..4 {
        run_random(&tree(16), 1600, seed, 60);
    }
}

#[test]
fn threads_that_map_and_unmap_leave_consistent_tables() {
    // Seven at most are linked. A thread that is off its CPU keeps eight in
    // limbo, to which each of four adds seven at most, and one that it links.
    const TABLES: u32 = 64;
    let store = ModelStore::new(TABLES, 2).with_waiting_max(8);
    let tree: Tree<_, Tiny> = Tree::in_store(store);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let tree = &tree;
            scope.spawn(move || {
                let mut numbers = Numbers(thread);
                for _ in 0..4000 {
                    let page = numbers.below(8);
                    match numbers.below(3) {
                        0 => map(tree, page, pte(page + 1)),
                        1 => unmap(tree, pages(page, page + 1 + numbers.below(4))),
                        _ => {
                            let found = tree.get(Vpn::new(page));
                            assert!(found.is_empty() || found == pte(page + 1));
                        }
                    }
                }
            });
        }
    });
    clean(&tree);
    unmap(&tree, pages(0, 8));
    tree.collect();
    assert_eq!(tree.store().free_tables(), TABLES as usize - 1);
}

#[test]
fn tables_of_a_gigabyte_go_through_a_gather_with_room_for_few() {
    let tree = tree(600);
    for leaf in 0..512 {
        map(&tree, leaf * 512, pte(1));
    }
    assert_eq!(tree.tables(Level::PTE), 512);
    unmap(&tree, pages(0, 512 * 512));
    assert_eq!((tree.tables(Level::PTE), tree.tables(Level::PMD)), (0, 0));
    assert_eq!(tree.waiting(), 0);
    clean(&tree);
}

#[test]
fn who_unlinks_tables_waits_for_a_descent_that_holds_too_many() {
    let tree: Tree<_, Tiny> = Tree::in_store(ModelStore::new(64, 2).with_waiting_max(4));
    std::thread::scope(|scope| {
        let reader = tree.reader();
        let unlinker = scope.spawn(|| {
            for _ in 0..1000 {
                map(&tree, 0, pte(1));
                unmap(&tree, pages(0, 8));
            }
        });
        // Two tables go each time.
        while tree.waiting() < 6 {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        assert_eq!(tree.waiting(), 6);
        drop(reader);
        unlinker.join().unwrap();
    });
    assert!(tree.waiting() <= 4);
}
