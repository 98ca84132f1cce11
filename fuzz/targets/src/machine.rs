//! A machine of one thread whose user mode is the target itself, and whose
//! clock moves only when somebody looks or sleeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foliant_kernel::park::Sleeper;
use foliant_kernel::signal::{SigInfo, Signal};
use foliant_kernel::testing::{Host, TestMachine};
use foliant_kernel::{Origin, Process, Start, UserRegs};
use foliant_platform::Nanos;
use foliant_units::Errno;

/// Nanoseconds that pass when somebody looks at the clock.
const LOOK: u64 = 1000;
/// Whoever sleeps more often waits for something that never comes.
const SLEEPS: u64 = 64;

pub(crate) type Machine = TestMachine<Target>;

/// The target as the machine sees it.
#[derive(Default)]
pub(crate) struct Target {
    first: Mutex<Option<UserRegs>>,
    process: Mutex<Weak<Process<Machine>>>,
    alarm: Mutex<Option<Nanos>>,
    clock: AtomicU64,
    sleeps: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Target {
    /// Whom to kill if it sleeps for ever.
    pub(crate) fn watch(&self, process: &Arc<Process<Machine>>) {
        *lock(&self.process) = Arc::downgrade(process);
    }

    /// The registers that the first task starts with.
    pub(crate) fn first_regs(&self) -> Option<UserRegs> {
        lock(&self.first).take()
    }

    fn look(&self) -> Nanos {
        Nanos(self.clock.fetch_add(LOOK, Ordering::Relaxed))
    }

    /// Lets time pass until `until` or an alarm, and says whether that is due;
    /// where neither is, nobody will ever wake the sleeper, and it is killed.
    fn sleep(&self, until: Option<Nanos>) -> bool {
        let alarm = *lock(&self.alarm);
        let next = match (until, alarm) {
            (Some(until), Some(alarm)) => Some(until.min(alarm)),
            (one, other) => one.or(other),
        };
        let often = self.sleeps.fetch_add(1, Ordering::Relaxed) >= SLEEPS;
        if let Some(next) = next.filter(|_| !often) {
            self.clock.fetch_max(next.0, Ordering::Relaxed);
        } else if let Some(process) = lock(&self.process).upgrade() {
            process.send(SigInfo::kernel(Signal::KILL));
        }
        alarm.is_some_and(|at| at.0 <= self.clock.load(Ordering::Relaxed))
    }
}

impl Host for Target {
    type Thread = ();

    fn now(&self, _host: Nanos) -> Nanos {
        self.look()
    }

    fn realtime(&self) -> Nanos {
        Nanos(1_700_000_000_000_000_000 + self.clock.load(Ordering::Relaxed))
    }

    fn sleeper(machine: &Machine) -> Arc<dyn Sleeper> {
        Arc::new(Bed(machine.clone()))
    }

    /// There is one thread: a second task finds no room.
    fn start(machine: &Machine, start: Start<'_, Machine>) -> Result<(), Errno> {
        match start.origin {
            Origin::Fresh => {
                *lock(&machine.host().first) = Some(start.regs);
                Ok(())
            }
            Origin::Thread(_) | Origin::Fork(_) => Err(Errno::AGAIN),
        }
    }

    fn alarm(&self, at: Option<Nanos>) {
        *lock(&self.alarm) = at;
    }
}

struct Bed(Machine);

impl Sleeper for Bed {
    fn sleep(&self, until: Option<Nanos>) {
        if self.0.host().sleep(until)
            && let Some(kernel) = self.0.kernel()
        {
            kernel.tick();
        }
    }

    fn wake(&self) {}

    fn now(&self) -> Nanos {
        self.0.host().look()
    }
}
