//! Giving the old program up for the new one.

use alloc::sync::Arc;

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::signal::{AltStack, Signal};
use foliant_units::Errno;

use crate::exit::{finish_vfork, leave_image};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::Interrupt;
use crate::signal::kill_others;
use crate::task::Task;

use super::run::Ready;

/// Makes the caller the only task of its process and puts it into the new space.
///
/// # Errors
/// `AGAIN` if the process is ending or another task replaces it; the caller
/// ends then.
///
/// # Linux source concept
/// `begin_new_exec()`, `setup_new_exec()`.
pub(super) fn commit<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    cpu: &mut M::Cpu,
    ready: Ready<M>,
) -> Result<(), Errno> {
    end_other_tasks(kernel, task)?;
    settle(kernel, task, &ready);

    let Ready {
        space,
        image,
        regs,
        running,
        ..
    } = ready;
    leave_image(kernel, task);
    let old = task.replace_space(Some(space.clone()));
    if let Some(old) = &old {
        task.process().count_faults(old);
        kernel.observe_end(task, old);
    }
    task.set_image(Arc::new(image));
    task.set_running(running);
    let moved = kernel.machine().exec(task, cpu, &space, regs);
    finish_vfork(task);
    drop(old);
    if moved.is_err() {
        task.force_default(Signal::SEGV);
    }
    Ok(())
}

/// Ends all other tasks of the process, and takes the leader's number.
///
/// # Linux source concept
/// `de_thread()`.
fn end_other_tasks<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>) -> Result<(), Errno> {
    let process = task.process();
    {
        let mut group = process.group.lock();
        if group.exiting.is_some() || group.execing.is_some() {
            return Err(Errno::AGAIN);
        }
        if group.tasks.len() > 1 {
            group.execing = Some(task.tid());
            kill_others(&mut group, &process.machine, task);
        }
    }
    let alone = || (process.group.lock().tasks.len() == 1).then_some(());
    let waited = process
        .task_ended
        .wait(task.parker(), Interrupt::ByKill, None, alone);
    process.group.lock().execing = None;
    waited.map_err(|_| Errno::AGAIN)?;

    if !task.is_leader() {
        let mut tree = kernel.tree();
        tree.remove_task(task.tid());
        task.set_tid(process.id());
        tree.add_task(task);
    }
    Ok(())
}

/// What does not survive a change of program, and what is named after the new one.
fn settle<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>, ready: &Ready<M>) {
    let process = task.process();
    process.drop_posix_timers(kernel);
    task.files().exec();
    {
        let _group = process.group.lock();
        let mut own = process.actions().lock().clone();
        own.reset_handlers();
        process.set_actions(Arc::new(SpinLock::new(own)));
        task.signals.lock().stack = AltStack::default();
    }
    task.set_name(&ready.name);
    process.dumpable.store(1, Ordering::Relaxed);
    if let Some(node) = kernel.tree().node_mut(process.id()) {
        node.has_execed = true;
    }
}
