//! The worker threads: one receives, the others handle or rest.

use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};

use super::User;
use super::watch::Watch;

/// Who receives, who rests, and whether anybody needs to receive.
pub(crate) struct Pool {
    /// Workers that receive, or are about to.
    receiving: AtomicUsize,
    /// Host threads that may trap: running guest code, being born, on an errand.
    expected: AtomicIsize,
    resting: Mutex<Vec<Arc<Rest>>>,
    closing: AtomicBool,
}

/// A worker that rests.
struct Rest {
    worker: Thread,
    called: AtomicBool,
}

/// Workers that rest; more end themselves.
const RESTING_MAX: usize = 16;
/// Stack of a worker: calls of the kernel layer are shallow.
const STACK: usize = 1 << 20;

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            receiving: AtomicUsize::new(0),
            expected: AtomicIsize::new(0),
            resting: Mutex::new(Vec::new()),
            closing: AtomicBool::new(false),
        }
    }

    /// A trap more will come.
    pub(crate) fn expect(&self) {
        self.expected.fetch_add(1, Ordering::SeqCst);
    }

    /// An expected trap came, or will not come.
    pub(crate) fn came(&self) {
        let before = self.expected.fetch_sub(1, Ordering::SeqCst);
        // With one too few nobody would receive while all workers wait.
        debug_assert!(before > 0, "a trap came that nobody expected");
    }

    /// The calling worker begins to receive.
    pub(crate) fn begin(&self) {
        self.receiving.fetch_add(1, Ordering::SeqCst);
    }

    /// The calling worker has received.
    pub(crate) fn end(&self) {
        self.receiving.fetch_sub(1, Ordering::SeqCst);
    }

    /// To be called by a worker that is about to handle what it received or to
    /// block: sees to it that somebody receives if a trap can come.
    pub(crate) fn ensure_receiver(&self, machine: &User) {
        if self.expected.load(Ordering::SeqCst) <= 0 || self.receiving.load(Ordering::SeqCst) > 0 {
            return;
        }
        self.begin();
        let rest = self.lock().pop();
        match rest {
            Some(rest) => {
                rest.called.store(true, Ordering::Release);
                rest.worker.unpark();
            }
            None => spawn(machine.clone()),
        }
    }

    /// Whether a worker that has finished should receive; if not, it rests or ends.
    fn wants_more(&self) -> bool {
        self.receiving.load(Ordering::SeqCst) == 0
    }

    /// Rests until called. False if the worker shall end.
    fn rest(&self) -> bool {
        let rest = Arc::new(Rest {
            worker: thread::current(),
            called: AtomicBool::new(false),
        });
        {
            let mut resting = self.lock();
            if resting.len() >= RESTING_MAX || self.is_closing() {
                return false;
            }
            resting.push(rest.clone());
        }
        while !rest.called.load(Ordering::Acquire) {
            if self.is_closing() {
                return false;
            }
            thread::park();
        }
        true
    }

    /// No more traps are handled.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        for rest in self.lock().drain(..) {
            rest.worker.unpark();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Rest>>> {
        self.resting.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Starts a worker; it counts as receiving already.
fn spawn(machine: User) {
    let name = thread::Builder::new()
        .name("foliant-worker".into())
        .stack_size(STACK);
    let spare = machine.clone();
    if name.spawn(move || work(&machine)).is_err() {
        // The host has no thread left. Whoever finishes next receives.
        spare.pool().end();
    }
}

/// A worker's life. It counts as receiving when it starts.
fn work(machine: &User) {
    let _watch = Watch(machine);
    let pool = machine.pool();
    loop {
        let event = machine.stubs().next_event();
        pool.end();
        if pool.is_closing() {
            return;
        }
        match event {
            Ok(Some(event)) => machine.dispatch(event),
            Ok(None) => {}
            Err(error) => return machine.fail(error),
        }
        if !pool.wants_more() {
            if !pool.rest() {
                return;
            }
            continue;
        }
        pool.begin();
    }
}
