//! Job control: stopping and continuing a process.

use alloc::sync::Arc;

use foliant_platform::sync::SpinGuard;
use foliant_uapi::signal::{SiCode, SigAction, SigActionFlags, SigInfo, Signal};

use crate::kernel::Kernel;
use crate::machine::{ProgramEvent, UserMachine};
use crate::park::Interrupt;
use crate::pid::Pid;
use crate::process::{Group, Notice, Process};
use crate::task::Task;

/// Stops the process, unless nobody could continue it.
///
/// # Linux source concept
/// `do_signal_stop()`, first half.
pub(super) fn stop<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>, signal: Signal) {
    let process = task.process();
    if signal != Signal::STOP {
        let tree = kernel.tree();
        let group = tree.node(process.id()).map_or(Pid::NONE, |node| node.group);
        if tree.is_orphaned(group, None) {
            return;
        }
    }

    let mut group = process.group.lock();
    if group.exiting.is_some() {
        return;
    }
    group.stop.signal = Some(signal);
    group.stop.complete = false;
    let mut missing = 0;
    for other in &group.tasks {
        let mut signals = other.signals.lock();
        if signals.exiting || signals.stopped {
            continue;
        }
        signals.stop_pending = true;
        missing += 1;
        drop(signals);
        if !Arc::ptr_eq(other, task) {
            other.parker().call();
            process.machine.kick(other);
        }
    }
    group.stop.missing = missing;
    take_part(kernel, task, group);
}

/// Stops this task, as its process is to; returns when it may go on.
///
/// # Linux source concept
/// `do_signal_stop()`, second half.
pub(super) fn take_part<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    mut group: SpinGuard<'_, Group<M>>,
) {
    {
        let mut signals = task.signals.lock();
        signals.stop_pending = false;
        signals.stopped = true;
    }
    let notice = count_stopped(&mut group);
    drop(group);
    if let Some(notice) = notice {
        tell_parent(kernel, task.process(), notice);
    }
    let ready = || (!task.signals.lock().stopped).then_some(());
    // Being killed ends the stop as well; `next` sees to the rest.
    let _ = task.parker().park(Interrupt::ByKill, None, ready);
}

/// One more task has stopped, or ended instead.
pub(crate) fn count_stopped<M: UserMachine>(group: &mut Group<M>) -> Option<Notice> {
    group.stop.missing = group.stop.missing.saturating_sub(1);
    if group.stop.missing != 0 || group.stop.complete {
        return None;
    }
    group.stop.complete = true;
    group.stop.signal.map(Notice::Stopped)
}

/// Tells the parent, by `SIGCHLD` and `wait`, that the process has stopped or
/// goes on.
///
/// # Linux source concept
/// `do_notify_parent_cldstop()`.
pub(crate) fn tell_parent<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    process: &Arc<Process<M>>,
    notice: Notice,
) {
    let parent = {
        let mut tree = kernel.tree();
        let Some(node) = tree.node_mut(process.id()) else {
            return;
        };
        match notice {
            Notice::Stopped(signal) => node.stopped = Some(signal),
            Notice::Continued => {
                node.stopped = None;
                node.continued = true;
            }
        }
        let parent = node.parent;
        tree.node(parent).map(|node| node.process.clone())
    };
    let Some(parent) = parent else {
        return process.machine.program_event(match notice {
            Notice::Stopped(signal) => ProgramEvent::Stopped(signal),
            Notice::Continued => ProgramEvent::Continued,
        });
    };

    let action = *parent.actions().lock().get(Signal::CHLD);
    if action.handler != SigAction::IGNORE && !action.flags().contains(SigActionFlags::NOCLDSTOP) {
        let uid = process.any_task().map_or(0, |task| task.creds().uid.real);
        let (code, status) = match notice {
            Notice::Stopped(signal) => (SiCode::CLD_STOPPED, signal),
            Notice::Continued => (SiCode::CLD_CONTINUED, Signal::CONT),
        };
        let times = kernel.process_usage(process).times;
        parent.send(SigInfo::child(
            code,
            process.id().raw() as u32,
            uid,
            i32::from(status.raw()),
            times.user.0 / 10_000_000,
            times.system.0 / 10_000_000,
        ));
    }
    parent.child_events.wake_all();
}
