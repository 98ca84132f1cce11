//! What a process does about each signal.

use bitflags::bitflags;

use super::number::{DefaultAction, Signal};
use super::set::SigSet;

bitflags! {
    /// `sa_flags`; unknown bits are kept as they are.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ActionFlags: u64 {
        /// No `SIGCHLD` when a child stops.
        const NOCLDSTOP = 1;
        /// Children leave no zombie.
        const NOCLDWAIT = 2;
        /// The handler takes three arguments.
        const SIGINFO = 4;
        /// `sa_restorer` is there.
        const RESTORER = 0x0400_0000;
        /// On the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Interrupted calls start again.
        const RESTART = 0x1000_0000;
        /// The signal itself is not blocked meanwhile.
        const NODEFER = 0x4000_0000;
        /// Back to the default once it is called.
        const RESETHAND = 0x8000_0000;
        const _ = !0;
    }
}

/// A kernel `struct sigaction`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// Address of the handler, or 0 for the default, 1 to ignore.
    pub handler: u64,
    /// How.
    pub flags: ActionFlags,
    /// Where the handler returns to.
    pub restorer: u64,
    /// What is blocked meanwhile.
    pub mask: SigSet,
}

impl Action {
    /// `SIG_DFL`.
    pub const DEFAULT: u64 = 0;
    /// `SIG_IGN`.
    pub const IGNORE: u64 = 1;

    /// Whether `signal` does nothing under this action.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.handler {
            Self::IGNORE => true,
            Self::DEFAULT => signal.default_action() == DefaultAction::Ignore,
            _ => false,
        }
    }
}

/// The actions of all 64 signals.
#[derive(Clone, Debug)]
pub struct Actions([Action; 64]);

impl Actions {
    /// All defaults.
    pub fn new() -> Self {
        Self([Action::default(); 64])
    }

    /// The action for `signal`.
    pub fn get(&self, signal: Signal) -> &Action {
        &self.0[signal.index()]
    }

    /// The action for `signal`, to change it.
    pub fn get_mut(&mut self, signal: Signal) -> &mut Action {
        &mut self.0[signal.index()]
    }

    /// What `execve` leaves: handlers become defaults, ignored signals stay so.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            let handler = if action.handler == Action::IGNORE {
                Action::IGNORE
            } else {
                Action::DEFAULT
            };
            *action = Action {
                handler,
                ..Action::default()
            };
        }
    }

    /// What `CLONE_CLEAR_SIGHAND` leaves: like `execve`, for handlers only.
    pub fn clear_handlers(&mut self) {
        self.reset_handlers();
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}
