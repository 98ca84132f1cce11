//! Taking pending signals.

use alloc::sync::Arc;

use foliant_uapi::signal::{DefaultAction, SiCode, SigAction, SigActionFlags, SigInfo, SigSet, Signal};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::process::Group;
use crate::task::Task;
use crate::wait::WaitStatus;

use super::stop;

/// What a task on its way to user mode has to do.
pub(super) enum Next {
    /// Run the handler.
    Handle(Signal, SigInfo, SigAction),
    /// Go on.
    Nothing,
    /// End, because of the process or of another task's `execve`.
    End,
}

impl<M: UserMachine> Task<M> {
    /// Takes a pending signal out of `which`, as if it had been handled.
    pub fn take_signal(self: &Arc<Self>, which: SigSet) -> Option<SigInfo> {
        let mut group = self.process().group.lock();
        let taken = take(self, &mut group, SigSet::ALL.difference(which));
        self.recalculate(&group);
        taken.map(|(_, info)| info)
    }
}

/// Takes signals until one has a handler, and does what the others do.
///
/// # Linux source concept
/// `get_signal()`.
pub(super) fn next<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>) -> Next {
    let process = task.process();
    loop {
        let mut group = process.group.lock();
        if let Some(notice) = group.stop.notice.take() {
            drop(group);
            stop::tell_parent(kernel, process, notice);
            continue;
        }
        if group.exiting.is_some() || group.execing.is_some_and(|tid| tid != task.tid()) {
            return Next::End;
        }
        if task.signals.lock().stop_pending {
            stop::take_part(kernel, task, group);
            continue;
        }

        let blocked = task.signals.lock().blocked;
        let Some((signal, info)) = take(task, &mut group, blocked) else {
            task.recalculate(&group);
            return Next::Nothing;
        };
        let actions = process.actions();
        let mut actions = actions.lock();
        let action = *actions.get(signal);
        match action.handler {
            SigAction::IGNORE => {}
            SigAction::DEFAULT => match signal.default_action() {
                DefaultAction::Ignore | DefaultAction::Continue => {}
                DefaultAction::Stop => {
                    drop((actions, group));
                    stop::stop(kernel, task, signal);
                }
                DefaultAction::Terminate | DefaultAction::CoreDump => {
                    // No core image is ever written, so none is claimed.
                    group.exiting = Some(WaitStatus::Killed(signal, false));
                    super::send::kill_others(&mut group, &process.machine, task);
                    return Next::End;
                }
            },
            _ => {
                if action.flags().contains(SigActionFlags::RESETHAND) {
                    actions.get_mut(signal).handler = SigAction::DEFAULT;
                }
                return Next::Handle(signal, info, action);
            }
        }
    }
}

fn take<M: UserMachine>(
    task: &Arc<Task<M>>,
    group: &mut Group<M>,
    blocked: SigSet,
) -> Option<(Signal, SigInfo)> {
    let own = task.signals.lock().pending.take(blocked);
    let (signal, info) = own.or_else(|| group.pending.take(blocked))?;
    if info.code == SiCode::TIMER.0 {
        task.process().timers.lock().delivered(&info);
    }
    Some((signal, info))
}
