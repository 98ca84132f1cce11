//! System calls that copy to memory for which there is no frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foliant_uapi::Sysno;

use super::fake::{SCRATCH, Signal, User, run};
use crate::WaitStatus;

const PAGE: u64 = 4096;
const STATUS: u64 = SCRATCH + 0x400;

/// Maps `pages` pages that nobody has touched.
fn map(user: &mut User, pages: u64) -> u64 {
    const PRIVATE_ANON: u64 = 0x22;
    user.must(Sysno::MMAP, &[0, pages * PAGE, 3, PRIVATE_ANON, u64::MAX, 0])
}

/// Makes a child that has `pages` pages and sleeps.
fn child_with(user: &mut User, pages: u64) -> u64 {
    let ready = Arc::new(AtomicBool::new(false));
    let tell = ready.clone();
    let child = user.fork(move |user| {
        let at = map(user, pages);
        (0..pages).for_each(|page| user.touch(at + page * PAGE, true));
        tell.store(true, Ordering::Release);
        user.call(Sysno::PAUSE, &[]);
    });
    while !ready.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Waits for a child that was killed.
fn find_killed(user: &mut User, child: u64) {
    user.store_u32(STATUS, 0);
    assert_eq!(user.must(Sysno::WAIT4, &[child, STATUS, 0, 0]), child);
    assert_eq!(user.load(STATUS), u32::from(Signal::KILL.raw()));
}

#[test]
fn a_copy_that_gets_no_frame_kills_the_largest_and_goes_on() {
    let status = run(|user| {
        let child = child_with(user, 256);
        let at = map(user, 1);
        user.kernel.memory().phys().fail_at(1);
        assert_eq!(user.call(Sysno::UNAME, &[at]), 0);
        assert_ne!(user.load(at), 0);
        find_killed(user, child);
    });
    assert_eq!(status, WaitStatus::Exited(0));
}

#[test]
fn copies_go_on_while_there_is_somebody_to_kill() {
    // 4096 frames, of which the child has most.
    let status = run(|user| {
        let child = child_with(user, 2500);
        let at = map(user, 2500);
        for page in 0..2500 {
            assert_eq!(user.call(Sysno::UNAME, &[at + page * PAGE]), 0, "page {page}");
        }
        find_killed(user, child);
    });
    assert_eq!(status, WaitStatus::Exited(0));
}

#[test]
fn the_largest_that_gets_no_frame_for_a_copy_dies_of_it() {
    let status = run(|user| {
        let at = map(user, 1);
        user.kernel.memory().phys().fail_at(1);
        user.call(Sysno::UNAME, &[at]);
        unreachable!("killed inside of the call");
    });
    assert_eq!(status, WaitStatus::Killed(Signal::KILL, false));
}
