//! Where tasks sleep, and the machine's alarm clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use foliant_kernel::park::Sleeper;
use foliant_platform::Nanos;

use super::user::Machine;
use super::{User, clock};

/// A sleeping place: a token that is there or not.
pub(crate) struct Bed {
    machine: Weak<Machine>,
    token: Mutex<bool>,
    changed: Condvar,
}

impl Bed {
    pub(crate) fn new(machine: &User) -> Arc<Self> {
        Arc::new(Self {
            machine: machine.downgrade(),
            token: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.token.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Sleeper for Bed {
    fn sleep(&self, until: Option<Nanos>) {
        if core::mem::take(&mut *self.lock()) {
            return;
        }
        // The worker that sleeps may have been the only one that receives.
        if let Some(machine) = self.machine.upgrade() {
            let machine = User(machine);
            machine.pool().ensure_receiver(&machine);
        }
        let token = self.lock();
        let mut token = match until {
            None => self
                .changed
                .wait_while(token, |token| !*token)
                .unwrap_or_else(|poison| poison.into_inner()),
            Some(until) => {
                let left = Duration::from_nanos(until.0.saturating_sub(clock::monotonic().0));
                self.changed
                    .wait_timeout_while(token, left, |token| !*token)
                    .unwrap_or_else(|poison| poison.into_inner())
                    .0
            }
        };
        *token = false;
    }

    fn wake(&self) {
        let mut token = self.lock();
        *token = true;
        self.changed.notify_one();
    }

    fn now(&self) -> Nanos {
        clock::monotonic()
    }
}

/// The machine's alarm: one deadline, one host thread that waits for it.
pub(crate) struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

struct AlarmState {
    at: Option<Nanos>,
    closing: bool,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(AlarmState {
                at: None,
                closing: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// The latest request counts.
    pub(crate) fn set(&self, at: Option<Nanos>) {
        self.lock().at = at;
        self.changed.notify_one();
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Waits for the next alarm. False if there will be none any more.
    fn next(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.closing {
                return false;
            }
            let now = clock::monotonic();
            match state.at {
                Some(at) if at <= now => {
                    state.at = None;
                    return true;
                }
                Some(at) => {
                    let left = Duration::from_nanos(at.0 - now.0);
                    state = self
                        .changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(|poison| poison.into_inner())
                        .0;
                }
                None => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(|poison| poison.into_inner())
                }
            }
        }
    }

    /// The life of the alarm's thread.
    pub(crate) fn serve(machine: &User) {
        while machine.alarm_clock().next() {
            if let Some(kernel) = machine.kernel() {
                kernel.tick();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, AlarmState> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}
