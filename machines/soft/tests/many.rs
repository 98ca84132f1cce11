//! Machines are values: ten thousand of them leave nothing behind.
//!
//! Alone in its process, whose memory it measures.
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_phys::{AllocRequest, Owner, testing};

#[test]
fn ten_thousand_machines_of_64_frames_come_and_go() {
    make(100);
    let before = resident();
    make(10_000);
    let grown = resident().saturating_sub(before);
    // One machine is 80 frames; one in a hundred that stayed would be 8,000 pages.
    assert!(grown < 512, "{grown} pages more than before");
}

fn make(machines: usize) {
    for round in 0..machines {
        let phys = testing::boot(64);
        let held: Vec<_> = (0..8)
            .map(|_| phys.alloc(AllocRequest::kernel(Owner::Test).zeroed()).unwrap())
            .collect();
        held[0].content().write(0, &[round as u8; 16]);
        drop(held);
        testing::assert_all_free(&phys);
    }
}

/// Resident pages of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}
