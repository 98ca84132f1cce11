//! The machine's compaction thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use foliant_mm::Object;
use foliant_phys::{AllocRequest, Effort, Event, NodeId, Owner};
use foliant_units::Order;

use super::fake::{self, Fake};
use crate::kernel::Kernel;

const PAGE: u64 = 4096;

/// Half of nearly all memory, every other page of it.
fn fragment(kernel: &Kernel<Fake>) -> (Arc<Object<Fake>>, u64) {
    let pages = kernel.memory().phys().stats().free - 600;
    let object = Object::shmem(kernel.memory(), pages * PAGE);
    for page in 0..pages {
        object.write(page * PAGE, &[page as u8]).expect("room");
    }
    for page in (0..pages).step_by(2) {
        object.punch(page * PAGE, PAGE).expect("a hole");
    }
    (object, pages)
}

/// Lets the machine's time pass until something is so.
fn wait_for(kernel: &Kernel<Fake>, what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        kernel.tick();
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_may_not_wait_gets_a_large_folio_when_the_thread_has_run() {
    let kernel = fake::machine();
    let phys = kernel.memory().phys();
    let (object, pages) = fragment(&kernel);
    let huge = AllocRequest::movable(Owner::Test)
        .order(Order::PMD)
        .effort(Effort::NoWait)
        .silent();
    // Those that are whole anyway.
    let at_hand: Vec<_> = core::iter::from_fn(|| phys.alloc(huge).ok()).collect();
    let start = Instant::now();
    let made = loop {
        if let Ok(made) = phys.alloc(huge) {
            break made;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody compacts");
        thread::sleep(Duration::from_millis(2));
    };
    assert!(phys.events(Event::CompactDaemonWake) > 0);
    for page in (1..pages).step_by(2) {
        let mut byte = [0];
        object.read(page * PAGE, &mut byte).expect("read");
        assert_eq!(byte, [page as u8]);
    }
    kernel.stop_compaction();
    drop((made, at_hand));
}

#[test]
fn a_fragmented_node_is_compacted_though_nobody_asks() {
    let kernel = fake::machine();
    let phys = kernel.memory().phys();
    let (object, pages) = fragment(&kernel);
    let before = phys.fragmentation_score(NodeId(0));
    assert!(before > 90, "{before}");
    kernel.start_compaction();
    wait_for(&kernel, "nobody compacts", || {
        phys.fragmentation_score(NodeId(0)) <= 80
    });
    assert!(phys.events(Event::CompactDaemonMigrateScanned) > 0);
    assert_eq!(phys.events(Event::CompactDaemonWake), 0, "nobody was woken");
    for page in (1..pages).step_by(2) {
        let mut byte = [0];
        object.read(page * PAGE, &mut byte).expect("read");
        assert_eq!(byte, [page as u8]);
    }
    kernel.stop_compaction();
}

#[test]
fn a_node_in_good_order_is_left_alone() {
    let kernel = fake::machine();
    let phys = kernel.memory().phys();
    kernel.start_compaction();
    let start = Instant::now();
    wait_for(&kernel, "time passes", || {
        start.elapsed() > Duration::from_millis(1200)
    });
    assert_eq!(phys.events(Event::CompactMigrateScanned), 0);
    assert_eq!(phys.events(Event::CompactFreeScanned), 0);
    kernel.stop_compaction();
}

#[test]
fn a_write_to_the_setting_looks_at_once_and_zero_turns_it_off() {
    let kernel = fake::machine();
    let phys = kernel.memory().phys();
    phys.set_proactiveness(0);
    kernel.start_compaction();
    let (_object, _) = fragment(&kernel);
    let start = Instant::now();
    wait_for(&kernel, "time passes", || {
        start.elapsed() > Duration::from_millis(700)
    });
    assert_eq!(phys.events(Event::CompactMigrateScanned), 0);
    phys.set_proactiveness(20);
    kernel.compact_ahead_now();
    // Without any tick of the clock.
    while phys.fragmentation_score(NodeId(0)) > 80 {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody compacts");
        thread::sleep(Duration::from_millis(5));
    }
    kernel.stop_compaction();
}
