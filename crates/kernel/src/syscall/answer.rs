//! What a handler says.

use alloc::boxed::Box;

use foliant_units::Errno;

use crate::machine::UserMachine;
use crate::park::WaitError;
use crate::syscall::Ctx;
use crate::wait::WaitStatus;

/// The value a call returns, or why it has none.
pub type Answer<M> = Result<u64, Fail<M>>;

/// Why a call returns no value.
pub enum Fail<M: UserMachine> {
    /// An error number for the program.
    Errno(Errno),
    /// A signal ended its wait; whether the program sees `EINTR` depends on
    /// what is done about the signal.
    Restart(Restart<M>),
    /// The task ends.
    Exit(WaitStatus),
}

/// What becomes of a call that a signal has interrupted.
pub enum Restart<M: UserMachine> {
    /// Starts again unless a handler without `SA_RESTART` runs (`ERESTARTSYS`).
    Sys,
    /// Starts again always (`ERESTARTNOINTR`).
    NoIntr,
    /// Starts again only if no handler runs (`ERESTARTNOHAND`).
    NoHand,
    /// Goes on with this, by `restart_syscall`, only if no handler runs
    /// (`ERESTART_RESTARTBLOCK`): the rest of a relative sleep.
    Block(Continuation<M>),
}

/// The rest of an interrupted call.
pub type Continuation<M> = Box<dyn FnOnce(&mut Ctx<'_, M>) -> Answer<M> + Send>;

impl<M: UserMachine> From<Errno> for Fail<M> {
    fn from(errno: Errno) -> Self {
        Fail::Errno(errno)
    }
}

impl<M: UserMachine> From<WaitError> for Fail<M> {
    /// The usual rule: a signal restarts the call, the end of the time is `ETIMEDOUT`.
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Signal => Fail::Restart(Restart::Sys),
            WaitError::Timeout => Fail::Errno(Errno::TIMEDOUT),
        }
    }
}
