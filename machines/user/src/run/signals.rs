//! Signals from outside: a terminal's, and those sent to this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use foliant_kernel::signal::Signal;
use foliant_kernel::{Kernel, Task};
use foliant_uapi::signal::SigInfo;

use crate::machine::User;

/// Signals that become the program's.
const FORWARDED: [i32; 9] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGWINCH,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// How often the thread that waits for signals looks whether it is needed.
static TICK: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Takes the signals of this process and hands them to the program. Until it
/// is dropped; the signals are then as they were for the thread that made it.
pub(super) struct Forwarder {
    set: libc::sigset_t,
    before: libc::sigset_t,
    over: Arc<AtomicBool>,
}

impl Forwarder {
    /// Holds the signals back in this thread, and in those it will make.
    pub(super) fn new() -> Self {
        let mut set = empty();
        let mut before = empty();
        for signal in FORWARDED {
            // SAFETY: the set is initialised.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        // SAFETY: both sets are initialised.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        Self {
            set,
            before,
            over: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Hands signals on from now on.
    pub(super) fn serve(&self, kernel: &Arc<Kernel<User>>, task: &Arc<Task<User>>) {
        let (set, over) = (self.set, self.over.clone());
        let (kernel, task) = (Arc::downgrade(kernel), Arc::downgrade(task));
        let serve = move || {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: the set is initialised, and no information is asked for.
                let signal =
                    unsafe { libc::sigtimedwait(&raw const set, core::ptr::null_mut(), &raw const TICK) };
                let (Some(kernel), Some(task)) = (kernel.upgrade(), task.upgrade()) else {
                    return;
                };
                if let Some(signal) = Signal::from_raw(signal) {
                    hand_on(&kernel, &task, signal);
                }
            }
        };
        // Without a thread the program misses signals from outside, no more.
        let _ = thread::Builder::new().name("foliant-signals".into()).spawn(serve);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // SAFETY: the set is initialised.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, core::ptr::null_mut()) };
    }
}

/// A terminal's signal goes to its foreground group, any other to the first
/// process.
fn hand_on(kernel: &Kernel<User>, task: &Task<User>, signal: Signal) {
    let from_terminal = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH].contains(&signal);
    let info = SigInfo::kernel(signal);
    let tree = kernel.tree();
    let first = task.process();
    let foreground = tree
        .node(first.id())
        .and_then(|node| tree.session(node.session))
        .filter(|session| session.has_terminal)
        .and_then(|session| session.foreground);
    let targets: Vec<_> = match foreground {
        Some(group) if from_terminal => tree
            .group(group)
            .filter(|node| node.ended.is_none())
            .map(|node| node.process.clone())
            .collect(),
        _ => vec![first.clone()],
    };
    drop(tree);
    for process in targets {
        process.send(info);
    }
}

/// Whether this process is in the foreground of a terminal of its own.
pub(super) fn is_in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The first process was stopped by job control: so is this one, until the
/// shell continues it.
pub(super) fn stop_like_the_program() {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

fn empty() -> libc::sigset_t {
    // SAFETY: a set of signals is a plain structure; zero is a valid one.
    let mut set = unsafe { core::mem::zeroed() };
    // SAFETY: the set is writable.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}
