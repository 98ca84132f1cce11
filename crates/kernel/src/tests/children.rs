//! Forking, waiting, stopping, ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foliant_uapi::Sysno;

use super::fake::{SCRATCH, Signal, User, run};
use crate::WaitStatus;

const ECHILD: i64 = -10;
const STATUS: u64 = SCRATCH + 0x400;

fn wait(user: &mut User, options: u64) -> (i64, u32) {
    let pid = user.call(Sysno::WAIT4, &[u64::MAX, STATUS, options, 0]);
    (pid, user.load(STATUS))
}

fn rest() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn the_child_has_its_own_memory_and_the_parent_gets_its_status() {
    run(|user| {
        user.store_u32(SCRATCH + 0x900, 1);
        let child = user.fork(|user| {
            assert_eq!(user.load(SCRATCH + 0x900), 1);
            user.store_u32(SCRATCH + 0x900, 2);
            user.call(Sysno::EXIT_GROUP, &[42]);
        });
        assert_eq!(wait(user, 0), (child as i64, 42 << 8));
        assert_eq!(user.load(SCRATCH + 0x900), 1);
        assert_eq!(wait(user, 0).0, ECHILD);
    });
}

#[test]
fn nohang_answers_at_once() {
    run(|user| {
        let child = user.fork(|_| rest());
        assert_eq!(wait(user, 1).0, 0);
        assert_eq!(wait(user, 0).0, child as i64);
    });
}

#[test]
fn a_killed_child_is_told_from_one_that_exits() {
    run(|user| {
        let child = user.fork(|user| {
            user.call(Sysno::PAUSE, &[]);
        });
        rest();
        user.must(Sysno::KILL, &[child, 9]);
        assert_eq!(wait(user, 0), (child as i64, 9));
    });
}

#[test]
fn stops_and_continuations_are_told() {
    run(|user| {
        let chld = Arc::new(AtomicU64::new(0));
        let count = chld.clone();
        user.on(Signal::CHLD, 0x1000_0000, move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let child = user.fork(|user| {
            user.call(Sysno::PAUSE, &[]);
        });
        rest();
        user.must(Sysno::KILL, &[child, 19]);
        assert_eq!(wait(user, 2), (child as i64, 19 << 8 | 0x7f));
        assert_eq!(wait(user, 1 | 2).0, 0, "told once");
        user.must(Sysno::KILL, &[child, 18]);
        assert_eq!(wait(user, 8), (child as i64, 0xffff));
        user.must(Sysno::KILL, &[child, 15]);
        assert_eq!(wait(user, 0), (child as i64, 15));
        assert!(chld.load(Ordering::Relaxed) >= 3);
    });
}

#[test]
fn all_threads_stop_together() {
    run(|user| {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = ticks.clone();
        let child = user.fork(move |user| {
            for _ in 0..2 {
                let counted = counted.clone();
                user.spawn(0, 0, move |user| {
                    loop {
                        counted.fetch_add(1, Ordering::Relaxed);
                        user.step();
                    }
                });
            }
            loop {
                user.step();
            }
        });
        rest();
        user.must(Sysno::KILL, &[child, 19]);
        assert_eq!(wait(user, 2).0, child as i64);
        let then = ticks.load(Ordering::Relaxed);
        rest();
        assert_eq!(ticks.load(Ordering::Relaxed), then);
        user.must(Sysno::KILL, &[child, 18]);
        rest();
        assert!(ticks.load(Ordering::Relaxed) > then);
        user.must(Sysno::KILL, &[child, 9]);
        assert_eq!(wait(user, 0), (child as i64, 9));
    });
}

#[test]
fn ignored_children_leave_no_zombies() {
    run(|user| {
        user.action(Signal::CHLD, 1, 0);
        user.fork(|_| {});
        assert_eq!(wait(user, 0).0, ECHILD);
    });
}

#[test]
fn orphans_go_to_the_subreaper_or_to_nobody() {
    run(|user| {
        const SET_CHILD_SUBREAPER: u64 = 36;
        user.must(Sysno::PRCTL, &[SET_CHILD_SUBREAPER, 1]);
        let child = user.fork(|user| {
            user.fork(|user| {
                rest();
                user.call(Sysno::EXIT_GROUP, &[5]);
            });
        });
        assert_eq!(wait(user, 0), (child as i64, 0));
        assert_eq!(wait(user, 0).1, 5 << 8);
        // The same without anybody to adopt it: it just goes.
        user.must(Sysno::PRCTL, &[SET_CHILD_SUBREAPER, 0]);
        user.fork(|user| {
            user.fork(|_| rest());
        });
        wait(user, 0);
        assert_eq!(wait(user, 0).0, ECHILD);
    });
}

#[test]
fn exit_group_ends_every_thread() {
    let status = run(|user| {
        for _ in 0..3 {
            user.spawn(0, 0, |user| {
                user.call(Sysno::PAUSE, &[]);
            });
        }
        user.spawn(0, 0, |user| {
            loop {
                user.step();
            }
        });
        rest();
        user.call(Sysno::EXIT_GROUP, &[3]);
    });
    assert_eq!(status, WaitStatus::Exited(3));
}

#[test]
fn a_leader_that_leaves_first_stays_as_a_zombie() {
    run(|user| {
        let child = user.fork(|user| {
            user.spawn(0, 0, |user| {
                rest();
                user.call(Sysno::EXIT, &[9]);
            });
            user.call(Sysno::EXIT, &[4]);
        });
        assert_eq!(wait(user, 1).0, 0);
        assert_eq!(
            wait(user, 0),
            (child as i64, 4 << 8),
            "what the leader said counts"
        );
    });
}

#[test]
fn vfork_waits_and_shares_memory() {
    run(|user| {
        user.store_u32(SCRATCH + 0x900, 1);
        user.give_program(|user| {
            rest();
            user.store_u32(SCRATCH + 0x900, 2);
            user.call(Sysno::EXIT, &[0]);
        });
        user.must(Sysno::VFORK, &[]);
        assert_eq!(user.load(SCRATCH + 0x900), 2);
        wait(user, 0);
    });
}

#[test]
fn groups_and_sessions() {
    run(|user| {
        let own = user.must(Sysno::GETPID, &[]);
        assert_eq!(user.call(Sysno::SETSID, &[]), -1, "a leader already");
        let child = user.fork(move |user| {
            assert_eq!(user.must(Sysno::GETPGRP, &[]), own);
            assert_eq!(user.must(Sysno::GETPPID, &[]), own);
            let me = user.must(Sysno::SETSID, &[]);
            assert_eq!(user.must(Sysno::GETSID, &[0]), me);
            assert_eq!(user.call(Sysno::SETPGID, &[0, own]), -1, "a leader stays");
        });
        wait(user, 0);
        let (one, two) = (
            user.fork(|user| {
                user.call(Sysno::PAUSE, &[]);
            }),
            user.fork(|user| {
                user.call(Sysno::PAUSE, &[]);
            }),
        );
        user.must(Sysno::SETPGID, &[one, one]);
        user.must(Sysno::SETPGID, &[two, one]);
        assert_eq!(user.call(Sysno::SETPGID, &[two, child]), -1, "no such group");
        user.must(Sysno::KILL, &[(-(one as i64)) as u64, 15]);
        wait(user, 0);
        wait(user, 0);
        assert_eq!(wait(user, 0).0, ECHILD);
    });
}
