//! A host thread that runs a guest's code.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use foliant_kernel::Task;

use super::User;
use super::space::SpaceState;
use super::user::Machine;
use crate::host::{CallId, Slot};

/// Where a host thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Not made yet, or made and not heard of.
    Unborn,
    /// In guest code, or on its way there.
    Running,
    /// Waiting for the supervisor.
    Inside,
    /// Gone.
    Dead,
}

impl State {
    const ALL: [Self; 4] = [Self::Unborn, Self::Running, Self::Inside, Self::Dead];
}

/// What a lane's last order says of staleness; see `SpaceState::flush`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// What it removes.
    Sent,
    /// What it removes for good.
    Proof,
}

/// What a thread that comes in brings for a worker that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Errand {
    /// Nobody waits.
    None,
    /// Somebody waits.
    Awaited,
    /// It came: its call, and the bases of FS and GS if they are known.
    Back(CallId, Option<(u64, u64)>),
    /// It came, but an operation had failed with this errno.
    Failed(CallId, i32),
    /// It will not come.
    Lost,
}

/// How a thread that is born begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    /// Address in the guest of its first registers.
    pub(crate) frame: u64,
    /// The bases of FS and GS.
    pub(crate) bases: (u64, u64),
    /// The slot of the zygote is still shown.
    pub(crate) from_zygote: bool,
}

/// One host thread; a task has one at a time.
pub(crate) struct Lane {
    machine: Weak<Machine>,
    pub(crate) slot: Slot,
    /// Host thread number; 0 until it is born.
    pub(crate) thread: AtomicI32,
    /// Host process number; 0 until it is known.
    pub(crate) process: AtomicI32,
    state: AtomicU32,
    /// Number of the latest staleness whose removal was in its last order.
    pub(crate) sent: AtomicU64,
    /// Number of the latest staleness whose removal by its last order is final.
    pub(crate) proof: AtomicU64,
    /// Address in the guest of the frame that its last order returned to.
    pub(crate) frame: AtomicU64,
    /// The kernel wants it in.
    pub(crate) kicked: AtomicBool,
    /// Threads that wait for it to come in.
    waiting: AtomicU32,
    errand: Mutex<Errand>,
    changed: Condvar,
    task: Mutex<Option<Arc<Task<User>>>>,
    space: Mutex<Option<Arc<SpaceState>>>,
    /// `/proc/PID/task/TID/stat`, once asked for.
    pub(crate) stat: OnceLock<File>,
    pub(crate) birth: Mutex<Option<Birth>>,
    /// Bases of FS and GS as last set, for processors that do not tell.
    pub(crate) bases: Mutex<(u64, u64)>,
}

impl Lane {
    /// A lane without a host thread. Its slot is free again when it is dropped.
    pub(crate) fn new(machine: &User, slot: Slot) -> Arc<Self> {
        Arc::new(Self {
            machine: machine.downgrade(),
            slot,
            thread: AtomicI32::new(0),
            process: AtomicI32::new(0),
            state: AtomicU32::new(State::Unborn as u32),
            sent: AtomicU64::new(0),
            proof: AtomicU64::new(0),
            frame: AtomicU64::new(0),
            kicked: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            errand: Mutex::new(Errand::None),
            changed: Condvar::new(),
            task: Mutex::new(None),
            space: Mutex::new(None),
            stat: OnceLock::new(),
            birth: Mutex::new(None),
            bases: Mutex::new((0, 0)),
        })
    }

    /// Numbers of its host process and host thread.
    pub(crate) fn numbers(&self) -> (i32, i32) {
        (
            self.process.load(Ordering::SeqCst),
            self.thread.load(Ordering::SeqCst),
        )
    }

    pub(crate) fn state(&self) -> State {
        State::ALL[self.state.load(Ordering::SeqCst) as usize & 3]
    }

    /// Moves it unless it is elsewhere. Only [`die`](Self::die) makes it dead,
    /// and that for good.
    fn change_state(&self, from: State, to: State) -> bool {
        self.state
            .compare_exchange(from as u32, to as u32, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Tells those who wait for it to leave guest code.
    fn tell_of_state(&self) {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            let _errand = self.lock_errand();
            self.changed.notify_all();
        }
    }

    /// It came in: from now on its handler has it. False if it is dead.
    pub(crate) fn arrive(&self, from: State) -> bool {
        let came = self.change_state(from, State::Inside);
        if came {
            self.tell_of_state();
        }
        came
    }

    /// Its handler lets go of it: from now on the reaper tells of its end.
    /// False if it is dead, and its handler is to tell.
    pub(crate) fn depart(&self) -> bool {
        self.change_state(State::Inside, State::Running)
    }

    /// Notes that its host thread is gone; where it was.
    pub(crate) fn die(&self) -> State {
        let old = self.state.swap(State::Dead as u32, Ordering::SeqCst);
        self.tell_of_state();
        self.deliver(Errand::Lost);
        State::ALL[old as usize & 3]
    }

    /// Waits until it is not in guest code with `mark` below `number`. False if
    /// it took longer than `limit`.
    pub(crate) fn await_leaving(&self, mark: Mark, number: u64, limit: Duration) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = self.lock_errand();
        let stale = |_: &mut Errand| self.runs_below(mark, number);
        let (guard, timeout) = self
            .changed
            .wait_timeout_while(guard, limit, stale)
            .unwrap_or_else(|poison| poison.into_inner());
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        !timeout.timed_out()
    }

    /// Whether it is in guest code with `mark` below `number`.
    pub(crate) fn runs_below(&self, mark: Mark, number: u64) -> bool {
        let mark = match mark {
            Mark::Sent => &self.sent,
            Mark::Proof => &self.proof,
        };
        self.state() == State::Running && mark.load(Ordering::SeqCst) < number
    }

    /// Waits for its first call, by which it has read what made it, or its end.
    pub(crate) fn await_birth(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = self.lock_errand();
        let unborn = |_: &mut Errand| self.state() == State::Unborn;
        drop(
            self.changed
                .wait_while(guard, unborn)
                .unwrap_or_else(|poison| poison.into_inner()),
        );
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Announces that somebody will wait for its next trap.
    pub(crate) fn expect(&self) {
        *self.lock_errand() = Errand::Awaited;
    }

    /// Hands a call to who waits for it; false if nobody does.
    pub(crate) fn deliver(&self, errand: Errand) -> bool {
        let mut guard = self.lock_errand();
        if *guard != Errand::Awaited {
            return false;
        }
        *guard = errand;
        self.changed.notify_all();
        true
    }

    /// Waits for what [`expect`](Self::expect) announced.
    pub(crate) fn await_errand(&self) -> Errand {
        let guard = self.lock_errand();
        let mut guard = self
            .changed
            .wait_while(guard, |errand| *errand == Errand::Awaited)
            .unwrap_or_else(|poison| poison.into_inner());
        core::mem::replace(&mut *guard, Errand::None)
    }

    pub(crate) fn task(&self) -> Option<Arc<Task<User>>> {
        self.task
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clone()
    }

    pub(crate) fn set_task(&self, task: Option<Arc<Task<User>>>) {
        *self.task.lock().unwrap_or_else(|poison| poison.into_inner()) = task;
    }

    pub(crate) fn space(&self) -> Option<Arc<SpaceState>> {
        self.space
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clone()
    }

    pub(crate) fn set_space(&self, space: Option<Arc<SpaceState>>) {
        *self.space.lock().unwrap_or_else(|poison| poison.into_inner()) = space;
    }

    fn lock_errand(&self) -> MutexGuard<'_, Errand> {
        self.errand.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Neither a process shows the slot any more nor does a handler write to it.
        if let Some(machine) = self.machine.upgrade() {
            User(machine).stubs().control().give_back(self.slot);
        }
    }
}
