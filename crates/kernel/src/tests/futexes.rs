//! Sleeping on words.

use std::time::Duration;

use foliant_uapi::Sysno;

use super::fake::{SCRATCH, User, run};

const WORD: u64 = SCRATCH + 0x800;
const WORD2: u64 = SCRATCH + 0x840;
const TIME: u64 = SCRATCH + 0x880;
const WAIT: u64 = 128;
const WAKE: u64 = 129;
const CMP_REQUEUE: u64 = 132;
const LOCK_PI: u64 = 134;
const UNLOCK_PI: u64 = 135;
const CLEARTID_SETTID: u64 = 0x20_0000 | 0x100_0000 | 0x10_0000;

fn rest() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Waits for a thread that clears the word at `at` when it ends.
fn join(user: &mut User, at: u64) {
    loop {
        let tid = user.load(at);
        if tid == 0 {
            return;
        }
        user.call(Sysno::FUTEX, &[at, 0, u64::from(tid), 0]);
    }
}

#[test]
fn a_waiter_is_woken_and_a_changed_word_is_told() {
    run(|user| {
        user.store_u32(WORD, 7);
        assert_eq!(user.call(Sysno::FUTEX, &[WORD, WAIT, 8, 0]), -11);
        user.store(TIME, &[0, 5_000_000]);
        assert_eq!(user.call(Sysno::FUTEX, &[WORD, WAIT, 7, TIME]), -110);
        let tid = SCRATCH + 0x900;
        user.spawn(CLEARTID_SETTID, tid, |user| {
            rest();
            while user.must(Sysno::FUTEX, &[WORD, WAKE, 1]) == 0 {
                rest();
            }
        });
        assert_eq!(user.call(Sysno::FUTEX, &[WORD, WAIT, 7, 0]), 0);
        join(user, tid);
    });
}

#[test]
fn requeued_waiters_wake_at_the_second_word() {
    run(|user| {
        let tids: std::vec::Vec<u64> = (0..3).map(|index| SCRATCH + 0x900 + index * 8).collect();
        for tid in &tids {
            user.spawn(CLEARTID_SETTID, *tid, |user| {
                user.must(Sysno::FUTEX, &[WORD, WAIT, 0, 0]);
            });
        }
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(user.must(Sysno::FUTEX, &[WORD, CMP_REQUEUE, 1, 100, WORD2, 0]), 3);
        assert_eq!(user.must(Sysno::FUTEX, &[WORD, WAKE, 100]), 0);
        assert_eq!(user.must(Sysno::FUTEX, &[WORD2, WAKE, 100]), 2);
        tids.into_iter().for_each(|tid| join(user, tid));
    });
}

#[test]
fn a_shared_word_wakes_another_process() {
    run(|user| {
        const SHARED_ANON: u64 = 0x21;
        let at = user.must(Sysno::MMAP, &[0, 4096, 3, SHARED_ANON, u64::MAX, 0]);
        user.touch(at, true);
        user.fork(move |user| {
            rest();
            while user.must(Sysno::FUTEX, &[at, 1, 1]) == 0 {
                rest();
            }
        });
        assert_eq!(user.call(Sysno::FUTEX, &[at, 0, 0, 0]), 0);
        user.must(Sysno::WAIT4, &[u64::MAX, 0, 0, 0]);
    });
}

#[test]
fn a_lock_with_an_owner_goes_to_who_waits() {
    run(|user| {
        let own = user.must(Sysno::GETTID, &[]);
        assert_eq!(user.must(Sysno::FUTEX, &[WORD, LOCK_PI, 0, 0]), 0);
        assert_eq!(u64::from(user.load(WORD)), own);
        assert_eq!(user.call(Sysno::FUTEX, &[WORD, LOCK_PI, 0, 0]), -35, "EDEADLK");
        let tid = SCRATCH + 0x900;
        let other = user.spawn(CLEARTID_SETTID, tid, |user| {
            user.must(Sysno::FUTEX, &[WORD, LOCK_PI, 0, 0]);
            rest();
            user.must(Sysno::FUTEX, &[WORD, UNLOCK_PI]);
        });
        while u64::from(user.load(WORD)) & 0x8000_0000 == 0 {
            rest();
        }
        rest();
        user.must(Sysno::FUTEX, &[WORD, UNLOCK_PI]);
        assert_eq!(u64::from(user.load(WORD)) & 0x3fff_ffff, other);
        join(user, tid);
        assert_eq!(user.load(WORD), 0);
    });
}

#[test]
fn the_robust_locks_of_a_dead_thread_are_marked() {
    run(|user| {
        const HEAD: u64 = SCRATCH + 0x700;
        const NODE: u64 = SCRATCH + 0x740;
        let tid = SCRATCH + 0x900;
        user.spawn(CLEARTID_SETTID, tid, |user| {
            let me = user.must(Sysno::GETTID, &[]);
            // One lock, whose word lies 16 bytes behind its place in the list.
            user.store(HEAD, &[NODE, 16, 0]);
            user.store(NODE, &[HEAD]);
            user.store_u32(NODE + 16, me as u32);
            user.must(Sysno::SET_ROBUST_LIST, &[HEAD, 24]);
            user.call(Sysno::EXIT, &[0]);
        });
        join(user, tid);
        assert_eq!(user.load(NODE + 16), 0x4000_0000);
    });
}

#[test]
fn many_threads_agree_on_a_count() {
    run(|user| {
        // A mutex of one word: 0 free, 1 taken, 2 taken with waiters.
        let count = SCRATCH + 0x8c0;
        let tids: std::vec::Vec<u64> = (0..4).map(|index| SCRATCH + 0x900 + index * 8).collect();
        for tid in &tids {
            user.spawn(CLEARTID_SETTID, *tid, move |user| {
                let space = user.task.space().unwrap();
                let word = foliant_units::VirtAddr::new(WORD);
                for _ in 0..200 {
                    let mut state = space.cmpxchg_u32(word, 0, 1).unwrap();
                    while state != 0 {
                        if state == 2 || space.cmpxchg_u32(word, 1, 2).unwrap() != 0 {
                            user.call(Sysno::FUTEX, &[WORD, WAIT, 2, 0]);
                        }
                        state = space.cmpxchg_u32(word, 0, 2).unwrap();
                    }
                    let value = user.load(count);
                    user.store_u32(count, value + 1);
                    let before = loop {
                        let now = space.read_u32(word).unwrap();
                        if space.cmpxchg_u32(word, now, 0).unwrap() == now {
                            break now;
                        }
                    };
                    if before == 2 {
                        user.must(Sysno::FUTEX, &[WORD, WAKE, 1]);
                    }
                }
            });
        }
        tids.into_iter().for_each(|tid| join(user, tid));
        assert_eq!(user.load(count), 800);
    });
}
