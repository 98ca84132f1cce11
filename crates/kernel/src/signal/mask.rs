//! The set of signals that a task holds back.

use alloc::sync::Arc;

use foliant_uapi::signal::SigSet;

use crate::machine::UserMachine;
use crate::process::Group;
use crate::task::Task;

impl<M: UserMachine> Task<M> {
    /// What it holds back.
    pub fn blocked(&self) -> SigSet {
        self.signals.lock().blocked
    }

    /// Changes what it holds back, and returns what that was. Only the task
    /// itself calls this.
    pub fn set_blocked(self: &Arc<Self>, blocked: SigSet) -> SigSet {
        let group = self.process().group.lock();
        let blocked = blocked.difference(SigSet::UNBLOCKABLE);
        let before = core::mem::replace(&mut self.signals.lock().blocked, blocked);
        self.hand_over(&group, blocked.difference(before));
        self.recalculate(&group);
        before
    }

    /// Holds back `blocked` until the call ends: what was held back before
    /// comes back afterwards, or once the handler of a signal that ended the
    /// wait has run (`ppoll`, `sigsuspend`).
    pub fn set_blocked_meanwhile(self: &Arc<Self>, blocked: SigSet) {
        let before = self.set_blocked(blocked);
        self.signals.lock().saved_mask = Some(before);
        self.parker().remind();
    }

    /// Signals that are pending for it, held back or not.
    pub fn pending(&self) -> SigSet {
        let group = self.process().group.lock();
        let own = self.signals.lock().pending.set();
        own.union(group.pending.set())
    }

    /// Decides anew whether the task has anything to do about signals.
    ///
    /// # Linux source concept
    /// `recalc_sigpending()`.
    pub(crate) fn recalculate(&self, group: &Group<M>) {
        let signals = self.signals.lock();
        let pending = signals.pending.set().union(group.pending.set());
        let wanted = !pending.difference(signals.blocked).is_empty()
            || signals.stop_pending
            || group.stop.notice.is_some()
            || group.exiting.is_some()
            || group.execing.is_some_and(|tid| tid != self.tid());
        drop(signals);
        if wanted {
            self.parker().call();
        } else {
            self.parker().calm();
        }
    }

    /// Signals of the process that this task no longer takes go to others.
    ///
    /// # Linux source concept
    /// `retarget_shared_pending()`.
    pub(crate) fn hand_over(self: &Arc<Self>, group: &Group<M>, refused: SigSet) {
        let mut left = group.pending.set().intersection(refused);
        for task in &group.tasks {
            if left.is_empty() {
                return;
            }
            let signals = task.signals.lock();
            if Arc::ptr_eq(task, self) || signals.exiting {
                continue;
            }
            let takes = left.difference(signals.blocked);
            drop(signals);
            if !takes.is_empty() {
                left = left.difference(takes);
                task.parker().call();
                self.process().machine.kick(task);
            }
        }
    }
}
