//! What the machines of tests differ in.

use alloc::boxed::Box;
use alloc::sync::Arc;

use foliant_kvirt::KernelMemory;
use foliant_platform::Nanos;
use foliant_units::Errno;

use super::machine::TestMachine;
use crate::park::Sleeper;
use crate::{ProgramEvent, Start};

/// User mode, sleep and time of a [`TestMachine`]; each method answers for the
/// one of [`UserMachine`](crate::UserMachine) with its name.
pub trait Host: Send + Sync + Sized + 'static {
    /// What is kept per task.
    type Thread: Default + Send + Sync + 'static;

    /// The time, where the clock of the platform says `host`.
    fn now(&self, host: Nanos) -> Nanos {
        host
    }

    /// Nanoseconds since 1970, UTC.
    fn realtime(&self) -> Nanos;

    /// A sleeping place for one task.
    fn sleeper(machine: &TestMachine<Self>) -> Arc<dyn Sleeper>;

    /// Lets a new task enter user mode.
    ///
    /// # Errors
    /// `AGAIN` where there is no room for it.
    fn start(machine: &TestMachine<Self>, start: Start<'_, TestMachine<Self>>) -> Result<(), Errno>;

    /// Makes a task trap soon.
    fn kick(&self, _thread: &Self::Thread) {}

    /// Asks for a tick at that time.
    fn alarm(&self, at: Option<Nanos>);

    /// Runs `work` on a thread of its own, if there is one to spare.
    fn background(&self, _work: Box<dyn FnOnce() + Send>) -> bool {
        false
    }

    /// What the kernel itself takes of the machine.
    fn kernel_memory(&self) -> KernelMemory {
        KernelMemory::default()
    }

    /// Something happened to the first process.
    fn program_event(&self, _event: ProgramEvent) {}
}
