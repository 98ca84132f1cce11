//! A task's own signal state.

use foliant_uapi::signal::{AltStack, SigSet};

use super::pending::Pending;

/// A task's own signal state. Inside the signal lock.
#[derive(Clone, Debug, Default)]
pub struct TaskSignals {
    /// Signals for this task alone.
    pub(crate) pending: Pending,
    /// What is held back.
    pub(crate) blocked: SigSet,
    /// Held back as well, though `sigtimedwait` waits for them: a signal in
    /// here must not kill at once.
    pub(crate) really_blocked: SigSet,
    /// What to restore when no signal is delivered (`sigsuspend`, `ppoll`).
    pub(crate) saved_mask: Option<SigSet>,
    /// The alternate stack.
    pub(crate) stack: AltStack,
    /// Whether it is to take part in a stop of its process.
    pub(crate) stop_pending: bool,
    /// Whether it sleeps in such a stop.
    pub(crate) stopped: bool,
    /// Whether it is past taking signals.
    pub(crate) exiting: bool,
}

impl TaskSignals {
    /// What a new task starts with: the mask, and the stack if it has a copy
    /// of the parent's memory.
    pub(crate) fn for_child(&self, keep_stack: bool) -> Self {
        Self {
            blocked: self.blocked,
            stack: if keep_stack {
                self.stack
            } else {
                AltStack::default()
            },
            ..Self::default()
        }
    }
}
