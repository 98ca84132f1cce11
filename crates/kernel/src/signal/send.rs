//! Sending signals.

use alloc::sync::Arc;

use foliant_uapi::resource::Resource;
use foliant_uapi::signal::{DefaultAction, SigAction, SigInfo, SigSet, Signal};

use crate::machine::UserMachine;
use crate::process::{Group, Notice, Process};
use crate::task::Task;
use crate::wait::WaitStatus;

use super::actions::Actions;

/// The four signals that stop a process by default.
pub(super) const STOPS: SigSet = SigSet::EMPTY
    .with(Signal::STOP)
    .with(Signal::TSTP)
    .with(Signal::TTIN)
    .with(Signal::TTOU);

/// Whom a signal is for.
pub(crate) enum Target<'a, M: UserMachine> {
    /// This task.
    Task(&'a Arc<Task<M>>),
    /// Whichever task of the process can take it.
    Process,
}

impl<M: UserMachine> Process<M> {
    /// Sends a signal to the process.
    pub fn send(&self, info: SigInfo) {
        self.post(Target::Process, info);
    }

    /// Sends a signal.
    ///
    /// # Linux source concept
    /// `send_signal_locked()`, `complete_signal()`.
    pub(crate) fn post(&self, target: Target<'_, M>, info: SigInfo) {
        let Some(signal) = Signal::from_raw(info.signo) else {
            return;
        };
        let mut group = self.group.lock();
        let actions = self.actions();
        let ignored = ignored_by(&group, &actions.lock(), &target, signal);
        if !prepare(&mut group, signal) || ignored {
            return;
        }

        let room = group.pending.queued() < self.limit(Resource::Sigpending).min(1 << 16) as usize;
        match &target {
            Target::Task(task) => task.signals.lock().pending.add(signal, info, room),
            Target::Process => group.pending.add(signal, info, room),
        }

        if let Some(taker) = choose(&group, &target, signal) {
            let fatal = kills_at_once(&actions.lock(), &taker, signal);
            if fatal && group.exiting.is_none() {
                group.exiting = Some(WaitStatus::Killed(signal, false));
                doom_all(&mut group, &self.machine, None);
            } else if signal == Signal::KILL {
                doom(&taker, &self.machine);
            } else {
                taker.parker().call();
                self.machine.kick(&taker);
            }
        }
        drop(group);
        self.signal_arrivals.wake_all();
    }
}

impl<M: UserMachine> Task<M> {
    /// Sends a signal to this task.
    pub fn send(self: &Arc<Self>, info: SigInfo) {
        self.process().post(Target::Task(self), info);
    }

    /// Sends a signal that the task's own instruction has caused: if it is
    /// blocked or ignored, it kills.
    ///
    /// # Linux source concept
    /// `force_sig_info()`.
    pub(crate) fn force(self: &Arc<Self>, info: SigInfo) {
        let Some(signal) = Signal::from_raw(info.signo) else {
            return;
        };
        {
            let _group = self.process().group.lock();
            let actions = self.process().actions();
            let mut actions = actions.lock();
            let mut signals = self.signals.lock();
            if signals.blocked.contains(signal) || actions.get(signal).handler == SigAction::IGNORE {
                *actions.get_mut(signal) = SigAction::default();
                signals.blocked.remove(signal);
            }
        }
        self.send(info);
    }

    /// Kills it with `signal` even if it has a handler: the handler's frame
    /// could not be written.
    pub(crate) fn force_default(self: &Arc<Self>, signal: Signal) {
        {
            let _group = self.process().group.lock();
            let actions = self.process().actions();
            *actions.lock().get_mut(signal) = SigAction::default();
        }
        self.force(SigInfo::kernel(signal));
    }
}

/// Makes every task but `without` end. The caller holds the signal lock.
pub(crate) fn kill_others<M: UserMachine>(group: &mut Group<M>, machine: &M, without: &Arc<Task<M>>) {
    doom_all(group, machine, Some(without));
}

fn doom_all<M: UserMachine>(group: &mut Group<M>, machine: &M, without: Option<&Arc<Task<M>>>) {
    group.stop.missing = 0;
    for task in &group.tasks {
        if !without.is_some_and(|other| Arc::ptr_eq(other, task)) {
            doom(task, machine);
        }
    }
}

fn doom<M: UserMachine>(task: &Arc<Task<M>>, machine: &M) {
    let mut signals = task.signals.lock();
    signals.stop_pending = false;
    signals.stopped = false;
    drop(signals);
    task.parker().doom();
    machine.kick(task);
}

/// Whether the signal need not even be remembered.
fn ignored_by<M: UserMachine>(
    group: &Group<M>,
    actions: &Actions,
    target: &Target<'_, M>,
    signal: Signal,
) -> bool {
    let blocked = |task: &Arc<Task<M>>| {
        let signals = task.signals.lock();
        signals.blocked.union(signals.really_blocked).contains(signal)
    };
    // A blocked signal is kept: its action may have changed when it is unblocked.
    let held = match target {
        Target::Task(task) => blocked(task),
        Target::Process => group.tasks.first().is_some_and(blocked),
    };
    !held && actions.ignores(signal)
}

/// What a signal does on arrival, whatever becomes of it later: stops and
/// `SIGCONT` cancel each other. False if the process takes no more signals.
///
/// # Linux source concept
/// `prepare_signal()`.
fn prepare<M: UserMachine>(group: &mut Group<M>, signal: Signal) -> bool {
    if group.exiting.is_some() {
        return signal == Signal::KILL;
    }
    if STOPS.contains(signal) {
        discard_everywhere(group, SigSet::only(Signal::CONT));
    } else if signal == Signal::CONT {
        discard_everywhere(group, STOPS);
        let notice = match (group.stop.complete, group.stop.missing, group.stop.signal) {
            (true, ..) => Some(Notice::Continued),
            (false, 1.., Some(signal)) => Some(Notice::Stopped(signal)),
            _ => None,
        };
        group.stop.complete = false;
        group.stop.missing = 0;
        group.stop.signal = None;
        for task in &group.tasks {
            let mut signals = task.signals.lock();
            signals.stop_pending = false;
            signals.stopped = false;
            drop(signals);
            if notice.is_some() {
                // Whoever runs first tells the parent.
                task.parker().call();
            }
        }
        group.stop.notice = notice.or(group.stop.notice);
    }
    true
}

fn discard_everywhere<M: UserMachine>(group: &mut Group<M>, which: SigSet) {
    group.pending.discard(which);
    for task in &group.tasks {
        task.signals.lock().pending.discard(which);
    }
}

/// The task that is to look at the signal now, if any can.
fn choose<M: UserMachine>(group: &Group<M>, target: &Target<'_, M>, signal: Signal) -> Option<Arc<Task<M>>> {
    let wants = |task: &Arc<Task<M>>| {
        let signals = task.signals.lock();
        let open = !signals.blocked.contains(signal) && !signals.exiting;
        open && (signal == Signal::KILL || !signals.stopped)
    };
    match target {
        Target::Task(task) => wants(task).then(|| (*task).clone()),
        Target::Process => {
            let mut idle = group.tasks.iter().filter(|task| !task.parker().attention());
            let first = idle.find(|task| wants(task));
            first
                .or_else(|| group.tasks.iter().find(|task| wants(task)))
                .cloned()
        }
    }
}

/// Whether the signal ends the process without anybody having to look at it.
fn kills_at_once<M: UserMachine>(actions: &Actions, taker: &Arc<Task<M>>, signal: Signal) -> bool {
    let by_default = actions.get(signal).handler == SigAction::DEFAULT;
    let terminates = signal.default_action() == DefaultAction::Terminate;
    by_default && terminates && !taker.signals.lock().really_blocked.contains(signal)
}
