//! The lock protocol under `loom`, and seeded faults that must be caught.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p foliant-paging --target-dir target/loom --release loom_`
#![allow(clippy::unwrap_used)]

extern crate std;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_arch::{Entry, Level};
use foliant_platform::sync::Arc;
use foliant_units::{Pfn, Vpn, VpnRange};

use crate::model_store::{ModelStore, Tiny};
use crate::mutant::Mutant;
use crate::store::{Store, Words};
use crate::{GatherOf, Missing, Tree};

type Tables = Tree<ModelStore, Tiny>;

std::thread_local! {
    /// Models run on one thread of the host each, with all their own threads.
    static SEEDED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

pub(crate) fn seeded(mutant: Mutant) -> bool {
    SEEDED.get() == Some(mutant)
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// The model must hold as it is and fail with each of the mutants.
fn holds_but_not_with(mutants: &[Mutant], model: impl Fn() + Copy + Sync + Send + 'static) {
    check(model);
    for &mutant in mutants {
        SEEDED.set(Some(mutant));
        let outcome = catch_unwind(AssertUnwindSafe(|| check(model)));
        SEEDED.set(None);
        assert!(outcome.is_err(), "{mutant:?} was not noticed");
    }
}

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE);
const SPACE: VpnRange = VpnRange::new(Vpn::ZERO, Vpn::new(8));

fn pte(frame: u64) -> Pte {
    Pte::new(Pfn::new(frame), RW)
}

fn tables() -> Arc<Tables> {
    Arc::new(Tree::in_store(ModelStore::new(8, 2)))
}

/// Tables of which none may wait after a flush.
fn hasty_tables() -> Arc<Tables> {
    Arc::new(Tree::in_store(ModelStore::new(8, 2).with_waiting_max(0)))
}

fn map(tables: &Tables, page: u64, entry: Pte) {
    let mut leaf = tables
        .lock_leaf(Vpn::new(page), Missing::Allocate)
        .unwrap()
        .unwrap();
    leaf.replace(Vpn::new(page), entry);
}

fn unmap(tables: &Tables, page: u64) {
    let range = VpnRange::new(Vpn::new(page), Vpn::new(page + 1));
    let mut gather = GatherOf::new(tables);
    tables.edit_range(range, &mut gather, |leaf, part, gather| {
        let old = leaf.take(part.start);
        if old.is_present() {
            gather.frame(old.frame()).unwrap();
            gather.removed(part);
        }
        part.end
    });
    tables.free_range(SPACE, &mut gather);
    gather.finish();
}

fn clean(tables: &Tables) {
    let mut found = Vec::new();
    tables.audit(&mut |violation| found.push(violation));
    assert_eq!(found, []);
    // Every table is linked, free, or waiting; all three after both threads ended.
    let linked: usize = Level::all().map(|level| tables.tables(level)).sum();
    assert_eq!(linked + tables.store().free_tables() + tables.waiting(), 8);
}

fn both(one: impl FnOnce() + 'static, other: impl FnOnce()) {
    let thread = loom::thread::spawn(one);
    other();
    thread.join().unwrap();
}

/// Two threads on the same tables, which are in order afterwards.
fn race(tables: &Arc<Tables>, one: impl FnOnce(&Tables) + 'static, other: impl FnOnce(&Tables)) {
    let shared = tables.clone();
    both(move || one(&shared), || other(tables));
    clean(tables);
}

/// A walker finds page 0 as it was mapped, or nothing.
fn walk(tables: &Tables) {
    let found = tables.get(Vpn::ZERO);
    assert!(found == pte(0x10) || found.is_empty());
}

/// Tables in which page 0 is mapped.
fn with_a_page(tables: Arc<Tables>) -> Arc<Tables> {
    map(&tables, 0, pte(0x10));
    tables
}

#[test]
fn loom_two_installers_share_one_table() {
    holds_but_not_with(&[Mutant::LinkBlindly, Mutant::UnlockRelaxed], || {
        let tables = tables();
        race(
            &tables,
            |one| map(one, 0, pte(0x10)),
            |other| map(other, 1, pte(0x11)),
        );
        assert_eq!(tables.get(Vpn::new(0)), pte(0x10));
        assert_eq!(tables.get(Vpn::new(1)), pte(0x11));
        assert_eq!(tables.tables(Level::PTE), 1);
    });
}

#[test]
fn loom_a_page_mapped_while_its_table_goes_is_not_lost() {
    holds_but_not_with(&[Mutant::LockDetached, Mutant::DetachBlindly], || {
        let tables = with_a_page(tables());
        race(&tables, |one| map(one, 1, pte(0x11)), |other| unmap(other, 0));
        assert_eq!(tables.get(Vpn::new(0)), Pte::EMPTY);
        assert_eq!(tables.get(Vpn::new(1)), pte(0x11));
    });
}

#[test]
fn loom_a_walker_never_touches_a_freed_table() {
    let mutants = [
        Mutant::FreeAtOnce,
        Mutant::FreeEarly,
        Mutant::AdvanceBlindly,
        Mutant::UnpinRelaxed,
    ];
    holds_but_not_with(&mutants, || {
        race(&with_a_page(tables()), walk, |tables| {
            unmap(tables, 0);
            tables.collect();
            tables.collect();
        });
    });
}

#[test]
fn loom_unlinked_tables_do_not_pile_up_behind_a_descent() {
    holds_but_not_with(&[Mutant::NeverHoldBack, Mutant::FlushPinned], || {
        race(&with_a_page(hasty_tables()), walk, |tables| {
            unmap(tables, 0);
            assert_eq!(tables.waiting(), 0);
        });
    });
}

#[test]
fn loom_two_who_wait_for_descents_do_not_wait_for_each_other() {
    holds_but_not_with(&[Mutant::FlushPinned], || {
        let tables = with_a_page(hasty_tables());
        map(&tables, 1, pte(0x11));
        race(&tables, |one| unmap(one, 0), |other| unmap(other, 1));
        assert_eq!(tables.waiting(), 0);
    });
}

#[test]
fn loom_a_late_pin_is_noticed() {
    // The clock moves between a walker's look at it and its count.
    holds_but_not_with(&[Mutant::PinOnce], || {
        race(&with_a_page(tables()), walk, |tables| {
            tables.epoch.advance();
            tables.epoch.advance();
            tables.epoch.advance();
            unmap(tables, 0);
        });
    });
}

#[test]
fn loom_a_new_table_is_seen_with_its_entries() {
    holds_but_not_with(&[Mutant::LinkUncleared, Mutant::LinkRelaxed], || {
        race(&tables(), |one| map(one, 0, pte(0x10)), walk);
    });
}

#[test]
fn loom_the_hardware_and_the_kernel_lose_no_bit() {
    holds_but_not_with(&[Mutant::UpdateByStore], || {
        let tables = tables();
        map(&tables, 0, pte(0x10));
        let table = tables
            .lock_leaf(Vpn::ZERO, Missing::Skip)
            .unwrap()
            .unwrap()
            .table();
        let other = tables.clone();
        both(
            move || {
                // A CPU writes: it sets the dirty bit of a writable entry, or faults.
                let words = other.store().words(table);
                let seen = words.load::<Tiny>(0);
                if seen.is_writable() {
                    let _ = words.compare_exchange::<Tiny>(0, seen, seen.touched(true));
                }
            },
            || {
                let mut leaf = tables.lock_leaf(Vpn::ZERO, Missing::Skip).unwrap().unwrap();
                let (old, new) = leaf.update(Vpn::ZERO, |entry| entry.without(PteFlags::WRITE));
                assert_eq!(old.is_dirty(), new.is_dirty());
                // Once it is read-only the hardware leaves it alone.
                assert_eq!(leaf.get(Vpn::ZERO), new);
            },
        );
        let entry = tables.get(Vpn::ZERO);
        assert!(!entry.is_writable());
    });
}

#[test]
fn loom_two_who_unmap_free_each_table_once() {
    holds_but_not_with(&[Mutant::LockDetached], || {
        let tables = with_a_page(tables());
        map(&tables, 1, pte(0x11));
        race(&tables, |one| unmap(one, 0), |other| unmap(other, 1));
        assert_eq!(tables.table_bytes(), 0);
        let mut put = tables.store().put.lock().clone();
        put.sort();
        assert_eq!(put, [Pfn::new(0x10), Pfn::new(0x11)]);
    });
}

#[test]
fn loom_a_frame_is_put_after_its_flush() {
    holds_but_not_with(&[Mutant::PutBeforeFlush], || {
        let tables = with_a_page(tables());
        race(&tables, walk, |other| unmap(other, 0));
        assert_eq!(*tables.store().put_after.lock(), [1]);
    });
}

#[test]
fn loom_a_store_during_a_split_is_not_forgotten() {
    holds_but_not_with(&[Mutant::SplitByStore], || {
        let tables = tables();
        let large = Pte::new(Pfn::new(0x10), RW | PteFlags::LARGE);
        let mut guard = tables
            .lock_level(Vpn::ZERO, Level::PMD, Missing::Allocate)
            .unwrap()
            .unwrap();
        guard.set(Vpn::ZERO, large);
        let table = guard.table();
        drop(guard);
        let other = tables.clone();
        both(
            move || {
                // A CPU stores through the large mapping, if it still is one.
                let words = other.store().words(table);
                let stored = words.compare_exchange::<Tiny>(0, large, large.touched(true));
                let part = other.get(Vpn::ZERO);
                assert!(stored.is_err() || part.is_dirty());
            },
            || {
                let mut gather = GatherOf::new(&tables);
                tables.split(Vpn::ZERO, Level::PMD, &mut gather).unwrap();
                gather.finish();
            },
        );
        assert_eq!(tables.get(Vpn::new(1)).frame(), Pfn::new(0x11));
        clean(&tables);
    });
}

#[test]
fn loom_a_top_that_two_cpus_miss_is_copied_as_it_is() {
    holds_but_not_with(&[Mutant::SyncWithoutLock], || {
        let kernel = Arc::new(Tree::<ModelStore, Tiny>::in_store(ModelStore::new(8, 2)).lending());
        let space =
            Arc::new(Tree::<ModelStore, Tiny>::in_store(ModelStore::new(8, 2)).sharing_from(Vpn::new(4)));
        map(&kernel, 4, pte(0x10));
        let (lender, other) = (kernel.clone(), space.clone());
        both(
            // One CPU of the space faults, while another maps below.
            move || {
                other.sync_top(&lender, Vpn::new(4));
            },
            || {
                map(&space, 0, pte(0x11));
                space.sync_top(&kernel, Vpn::new(4));
            },
        );
        assert_eq!(space.sync_top(&kernel, Vpn::new(4)), crate::TopSync::Same);
        let mut found = Vec::new();
        space.audit(&mut |violation| found.push(violation));
        assert_eq!(found, []);
    });
}
