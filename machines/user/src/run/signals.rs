//! Signals from outside: a terminal's, and those sent to this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
    /// Whether the program was told already that it was continued; held while
    /// a signal is handed on.
    told: Arc<Mutex<bool>>,
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
            told: Arc::new(Mutex::new(false)),
        }
    }

    /// Hands signals on from now on.
    pub(super) fn serve(&self, kernel: &Arc<Kernel<User>>, task: &Arc<Task<User>>) {
        let (set, over, told) = (self.set, self.over.clone(), self.told.clone());
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
                    // A stop makes the host forget that it continued this
                    // process, so that may never come here.
                    let mut told = lock(&told);
                    let was_told = core::mem::take(&mut *told);
                    if signal != Signal::CONT || !was_told {
                        hand_on(&kernel, &task, signal);
                    }
                }
            }
        };
        // Without a thread the program misses signals from outside, no more.
        let _ = thread::Builder::new().name("foliant-signals".into()).spawn(serve);
    }

    /// The first process was stopped by job control: so is this one, by the
    /// same signal, until the shell continues it; then the program goes on.
    pub(super) fn stop_like_the_program(&self, kernel: &Kernel<User>, task: &Task<User>, signal: Signal) {
        // Nothing overtakes the news of being continued.
        let mut told = lock(&self.told);
        if !task.process().is_stopped() {
            return;
        }
        // Where nobody could continue it, the host does not stop it either.
        if signal == Signal::STOP || !is_orphaned().unwrap_or(false) {
            stop_by(i32::from(signal.raw()));
            *told = true;
        }
        hand_on(kernel, task, Signal::CONT);
    }
}

fn lock(told: &Mutex<bool>) -> MutexGuard<'_, bool> {
    told.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Whether nobody of this process's group has a parent in another group of the
/// session, as far as its ancestors tell. `None` if they are out of sight.
fn is_orphaned() -> Option<bool> {
    let mut at = std::process::id().to_string();
    let mut own = None;
    loop {
        let text = std::fs::read_to_string(format!("/proc/{at}/stat")).ok()?;
        // Behind the name: state, parent, group, session.
        let (_, fields) = text.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(1);
        let (parent, group, session) = (fields.next()?, fields.next()?, fields.next()?);
        let (own_group, own_session) = own.get_or_insert((group.to_owned(), session.to_owned()));
        if group != own_group {
            return Some(session != own_session);
        }
        if parent == "0" {
            return Some(true);
        }
        at = parent.to_owned();
    }
}

/// Sends this thread a signal that it does not block, with the default action.
fn stop_by(signal: i32) {
    let (mut set, mut before) = (empty(), empty());
    // SAFETY: the sets are initialised, and no handler is installed.
    unsafe {
        libc::sigaddset(&raw mut set, signal);
        let action = libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, &raw mut before);
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut());
        if action != libc::SIG_ERR {
            libc::signal(signal, action);
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // SAFETY: the set is initialised.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, core::ptr::null_mut()) };
    }
}

/// A terminal's signal goes to its foreground group, or that of the first
/// process; so does being continued. Any other goes to the first process.
fn hand_on(kernel: &Kernel<User>, task: &Task<User>, signal: Signal) {
    let from_terminal = [
        Signal::INT,
        Signal::QUIT,
        Signal::TSTP,
        Signal::WINCH,
        Signal::CONT,
    ]
    .contains(&signal);
    let info = SigInfo::kernel(signal);
    let tree = kernel.tree();
    let first = task.process();
    let node = tree.node(first.id());
    let foreground = node
        .and_then(|node| tree.session(node.session))
        .filter(|session| session.has_terminal && signal != Signal::CONT)
        .and_then(|session| session.foreground)
        .or(node.map(|node| node.group));
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

fn empty() -> libc::sigset_t {
    // SAFETY: a set of signals is a plain structure; zero is a valid one.
    let mut set = unsafe { core::mem::zeroed() };
    // SAFETY: the set is writable.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}
