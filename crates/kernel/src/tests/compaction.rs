//! The machine's compaction thread.

use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use foliant_mm::Object;
use foliant_phys::{AllocRequest, Effort, Event, Owner};
use foliant_units::Order;

use super::fake;

const PAGE: u64 = 4096;

#[test]
fn who_may_not_wait_gets_a_large_folio_when_the_thread_has_run() {
    let (_machine, kernel) = fake::machine();
    let phys = kernel.memory().phys();
    let pages = phys.stats().free - 600;
    let object = Object::shmem(kernel.memory(), pages * PAGE);
    for page in 0..pages {
        object.write(page * PAGE, &[page as u8]).expect("room");
    }
    for page in (0..pages).step_by(2) {
        object.punch(page * PAGE, PAGE).expect("a hole");
    }
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
