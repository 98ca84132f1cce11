//! Sending, holding back, handling.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use foliant_uapi::Sysno;

use super::fake::{SCRATCH, Signal, User, run};
use crate::WaitStatus;

const RESTART: u64 = 0x1000_0000;
const ONSTACK: u64 = 0x0800_0000;
const NODEFER: u64 = 0x4000_0000;
const RESETHAND: u64 = 0x8000_0000;
const EINTR: i64 = -4;

fn raise(user: &mut User, signal: Signal) {
    let pid = user.must(Sysno::GETPID, &[]);
    user.must(Sysno::KILL, &[pid, u64::from(signal.raw())]);
}

fn mask(user: &mut User, how: u64, bits: u64) {
    user.store(SCRATCH + 256, &[bits]);
    user.must(Sysno::RT_SIGPROCMASK, &[how, SCRATCH + 256, 0, 8]);
}

fn bit(signal: Signal) -> u64 {
    1 << signal.index()
}

#[test]
fn a_handler_runs_before_kill_returns_and_registers_come_back() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    let status = run(move |user| {
        user.on(Signal::USR1, 0, move |user, signal| {
            count.fetch_add(signal, Ordering::Relaxed);
            assert_eq!(user.cpu.regs.rsp % 16, 8, "the stack is as after a call");
            user.cpu.regs.rbx = 99;
        });
        user.cpu.regs.rbx = 5;
        user.cpu.xstate[160] = 17;
        let stack = user.cpu.regs.rsp;
        raise(user, Signal::USR1);
        assert_eq!(
            (user.cpu.regs.rbx, user.cpu.regs.rsp, user.cpu.xstate[160]),
            (5, stack, 17)
        );
    });
    assert_eq!(status, WaitStatus::Exited(0));
    assert_eq!(seen.load(Ordering::Relaxed), 10);
}

#[test]
fn a_signal_without_a_handler_kills() {
    assert_eq!(
        run(|user| raise(user, Signal::TERM)),
        WaitStatus::Killed(Signal::TERM, false)
    );
    assert_eq!(
        run(|user| raise(user, Signal::QUIT)),
        WaitStatus::Killed(Signal::QUIT, false)
    );
    assert_eq!(run(|user| raise(user, Signal::CHLD)), WaitStatus::Exited(0));
}

#[test]
fn a_blocked_signal_waits_and_an_ignored_one_is_forgotten() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    run(move |user| {
        let counted = count.clone();
        user.on(Signal::USR1, 0, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        mask(user, 0, bit(Signal::USR1) | bit(Signal::USR2));
        raise(user, Signal::USR1);
        raise(user, Signal::USR1);
        raise(user, Signal::USR2);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        user.must(Sysno::RT_SIGPENDING, &[SCRATCH + 512, 8]);
        assert_eq!(
            user.load(SCRATCH + 512),
            (bit(Signal::USR1) | bit(Signal::USR2)) as u32
        );
        user.action(Signal::USR2, 1, 0);
        mask(user, 1, bit(Signal::USR1) | bit(Signal::USR2));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    });
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[test]
fn handlers_nest_unless_their_mask_holds_back() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    run(move |user| {
        let log = seen.clone();
        user.on(Signal::USR1, NODEFER, move |user, _| {
            let first = log.lock().unwrap().is_empty();
            log.lock().unwrap().push(1);
            if first {
                raise(user, Signal::USR1);
            }
            log.lock().unwrap().push(2);
        });
        raise(user, Signal::USR1);
        let log = seen.clone();
        user.on(Signal::USR1, 0, move |user, _| {
            let first = log.lock().unwrap().len() == 4;
            log.lock().unwrap().push(3);
            if first {
                raise(user, Signal::USR1);
            }
            log.lock().unwrap().push(4);
        });
        raise(user, Signal::USR1);
    });
    assert_eq!(*order.lock().unwrap(), [1, 1, 2, 2, 3, 4, 3, 4]);
}

#[test]
fn resethand_leaves_the_default() {
    let status = run(|user| {
        user.on(Signal::USR1, RESETHAND, |_, _| {});
        raise(user, Signal::USR1);
        raise(user, Signal::USR1);
        unreachable!("it is dead");
    });
    assert_eq!(status, WaitStatus::Killed(Signal::USR1, false));
}

#[test]
fn the_alternate_stack_is_used_once() {
    run(|user| {
        let top = SCRATCH + 0x8000;
        user.store(SCRATCH + 256, &[SCRATCH + 0x4000, 0, 0x4000]);
        user.must(Sysno::SIGALTSTACK, &[SCRATCH + 256, 0]);
        user.on(Signal::USR1, ONSTACK, move |user, _| {
            assert!((SCRATCH + 0x4000..top).contains(&user.cpu.regs.rsp));
            assert_eq!(
                user.call(Sysno::SIGALTSTACK, &[SCRATCH + 256, 0]),
                -1,
                "EPERM while it is in use"
            );
            user.must(Sysno::SIGALTSTACK, &[0, SCRATCH + 512]);
            assert_eq!(user.load(SCRATCH + 520), 1, "SS_ONSTACK");
        });
        raise(user, Signal::USR1);
        user.must(Sysno::SIGALTSTACK, &[0, SCRATCH + 512]);
        assert_eq!(user.load(SCRATCH + 520), 0);
    });
}

#[test]
fn a_frame_that_does_not_fit_kills_with_sigsegv() {
    let status = run(|user| {
        user.on(Signal::USR1, 0, |_, _| unreachable!());
        user.cpu.regs.rsp = 0x4000;
        raise(user, Signal::USR1);
    });
    assert_eq!(status, WaitStatus::Killed(Signal::SEGV, false));
}

#[test]
fn a_bad_access_is_a_signal_with_its_address() {
    let seen = Arc::new(AtomicU64::new(0));
    let at = seen.clone();
    let status = run(move |user| {
        user.on(Signal::SEGV, 4, move |user, _| {
            let info = user.cpu.regs.rsi;
            at.store(u64::from(user.load(info + 16)), Ordering::Relaxed);
            assert_eq!(user.load(info + 8), 1, "SEGV_MAPERR");
            user.call(Sysno::EXIT_GROUP, &[7]);
        });
        user.touch(0x9000_0123, true);
    });
    assert_eq!(status, WaitStatus::Exited(7));
    assert_eq!(seen.load(Ordering::Relaxed), 0x9000_0123);
    assert_eq!(
        run(|user| user.touch(0x9000_0123, true)),
        WaitStatus::Killed(Signal::SEGV, false)
    );
    assert_eq!(run(|user| user.raise(0)), WaitStatus::Killed(Signal::FPE, false));
    assert_eq!(run(|user| user.raise(6)), WaitStatus::Killed(Signal::ILL, false));
}

#[test]
fn a_wait_restarts_as_its_handler_asks() {
    run(|user| {
        // A word that nobody will ever wake.
        let word = SCRATCH + 0x800;
        user.store_u32(word, 1);
        let parent = user.must(Sysno::GETPID, &[]);
        user.on(Signal::USR1, 0, |_, _| {});
        let child = user.fork(move |user| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            user.must(Sysno::KILL, &[parent, 10]);
        });
        assert_eq!(user.call(Sysno::FUTEX, &[word, 128, 1, 0]), EINTR);
        user.must(Sysno::WAIT4, &[child, 0, 0, 0]);

        user.on(Signal::USR1, RESTART, move |user, _| user.store_u32(word, 2));
        user.fork(move |user| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            user.must(Sysno::KILL, &[parent, 10]);
        });
        const EAGAIN: i64 = -11;
        assert_eq!(
            user.call(Sysno::FUTEX, &[word, 128, 1, 0]),
            EAGAIN,
            "asked again, it sees the new word"
        );
        user.call(Sysno::WAIT4, &[u64::MAX, 0, 0, 0]);
    });
}

#[test]
fn sigsuspend_puts_the_mask_back() {
    run(|user| {
        user.on(Signal::USR1, 0, |user, _| {
            assert!(user.task.blocked().contains(Signal::USR2))
        });
        mask(user, 2, bit(Signal::USR1));
        raise(user, Signal::USR1);
        user.store(SCRATCH + 256, &[bit(Signal::USR2)]);
        assert_eq!(user.call(Sysno::RT_SIGSUSPEND, &[SCRATCH + 256, 8]), EINTR);
        assert_eq!(user.task.blocked().bits(), bit(Signal::USR1));
    });
}

#[test]
fn sigtimedwait_takes_what_is_blocked() {
    run(|user| {
        mask(user, 0, bit(Signal::USR1));
        user.store(SCRATCH + 256, &[bit(Signal::USR1)]);
        user.store(SCRATCH + 272, &[0, 1_000_000]);
        const EAGAIN: i64 = -11;
        assert_eq!(
            user.call(Sysno::RT_SIGTIMEDWAIT, &[SCRATCH + 256, 0, SCRATCH + 272, 8]),
            EAGAIN
        );
        let parent = user.must(Sysno::GETPID, &[]);
        user.fork(move |user| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            user.must(Sysno::KILL, &[parent, 10]);
        });
        assert_eq!(
            user.call(Sysno::RT_SIGTIMEDWAIT, &[SCRATCH + 256, SCRATCH + 512, 0, 8]),
            10
        );
        user.must(Sysno::WAIT4, &[u64::MAX, 0, 0, 0]);
    });
}

#[test]
fn a_task_in_user_mode_is_kicked() {
    let seen = Arc::new(AtomicU64::new(0));
    let flag = seen.clone();
    run(move |user| {
        let set = flag.clone();
        user.on(Signal::USR1, 0, move |_, _| set.store(1, Ordering::Relaxed));
        let parent = user.must(Sysno::GETPID, &[]);
        let child = user.fork(move |user| {
            user.must(Sysno::KILL, &[parent, 10]);
        });
        user.spin_until(|| flag.load(Ordering::Relaxed) == 1);
        user.must(Sysno::WAIT4, &[child, 0, 0, 0]);
    });
}
