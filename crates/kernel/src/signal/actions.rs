//! What a process does about each signal.

use foliant_uapi::signal::{DefaultAction, SigAction, Signal};

/// The actions of all 64 signals.
///
/// # Linux source concept
/// `sighand_struct.action`.
#[derive(Clone, Debug)]
pub struct Actions([SigAction; 64]);

impl Actions {
    /// All defaults.
    pub fn new() -> Self {
        Self([SigAction::default(); 64])
    }

    /// The action for `signal`.
    pub fn get(&self, signal: Signal) -> &SigAction {
        &self.0[signal.index()]
    }

    /// The action for `signal`, to change it.
    pub fn get_mut(&mut self, signal: Signal) -> &mut SigAction {
        &mut self.0[signal.index()]
    }

    /// Whether `signal` would do nothing.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            SigAction::IGNORE => true,
            SigAction::DEFAULT => signal.default_action() == DefaultAction::Ignore,
            _ => false,
        }
    }

    /// What `execve` and `CLONE_CLEAR_SIGHAND` leave: handlers become
    /// defaults, ignored signals stay so.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            let ignored = action.handler == SigAction::IGNORE;
            *action = SigAction::default();
            if ignored {
                action.handler = SigAction::IGNORE;
            }
        }
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}
