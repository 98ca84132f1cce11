//! Sleeping, and timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use foliant_uapi::Sysno;

use super::fake::{SCRATCH, Signal, run};

const TIME: u64 = SCRATCH + 0x800;
const LEFT: u64 = SCRATCH + 0x840;

#[test]
fn a_sleep_lasts_and_tells_the_rest_when_interrupted() {
    run(|user| {
        user.store(TIME, &[0, 20_000_000]);
        let start = Instant::now();
        assert_eq!(user.call(Sysno::NANOSLEEP, &[TIME, 0]), 0);
        assert!(start.elapsed().as_millis() >= 20);

        user.on(Signal::ALRM, 0x1000_0000, |_, _| {});
        user.store(TIME, &[0, 0, 0, 20_000]);
        user.must(Sysno::SETITIMER, &[0, TIME, 0]);
        user.store(TIME, &[10, 0]);
        assert_eq!(user.call(Sysno::NANOSLEEP, &[TIME, LEFT]), -4);
        assert_eq!(user.load(LEFT), 9);
    });
}

#[test]
fn an_interval_timer_repeats() {
    run(|user| {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        user.on(Signal::ALRM, 0, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        user.store(TIME, &[0, 2_000, 0, 2_000]);
        user.must(Sysno::SETITIMER, &[0, TIME, 0]);
        user.spin_until(|| count.load(Ordering::Relaxed) >= 5);
        user.store(TIME, &[0; 4]);
        user.must(Sysno::SETITIMER, &[0, TIME, LEFT]);
        assert_eq!(user.load(LEFT + 8), 2_000);
    });
}

#[test]
fn a_posix_timer_counts_what_nobody_took() {
    run(|user| {
        user.store(SCRATCH + 256, &[1 << 39]);
        user.must(Sysno::RT_SIGPROCMASK, &[0, SCRATCH + 256, 0, 8]);
        // sigev_value, signal and SIGEV_SIGNAL.
        user.store(TIME, &[77, 40]);
        user.must(Sysno::TIMER_CREATE, &[1, TIME, LEFT]);
        let id = u64::from(user.load(LEFT));
        user.store(TIME, &[0, 1_000_000, 0, 1_000_000]);
        user.must(Sysno::TIMER_SETTIME, &[id, 0, TIME, 0]);
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert_eq!(
            user.call(Sysno::RT_SIGTIMEDWAIT, &[SCRATCH + 256, SCRATCH + 512, 0, 8]),
            40
        );
        assert_eq!(user.load(SCRATCH + 512 + 24), 77);
        assert!(user.load(SCRATCH + 512 + 20) >= 3, "overrun");
        assert!(user.must(Sysno::TIMER_GETOVERRUN, &[id]) >= 3);
        user.must(Sysno::TIMER_DELETE, &[id]);
        assert_eq!(user.call(Sysno::TIMER_DELETE, &[id]), -22);
    });
}
