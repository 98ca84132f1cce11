//! The end of tasks and processes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::signal::{SiCode, SigAction, SigActionFlags, SigInfo, Signal};

use crate::futex;
use crate::kernel::Kernel;
use crate::machine::{ProgramEvent, UserMachine};
use crate::pid::{Node, Pid, Tree};
use crate::process::{FaultBase, Process, Remains};
use crate::signal::{count_stopped, kill_others, tell_parent};
use crate::space::Space;
use crate::task::Task;
use crate::timer;
use crate::user::Copier;
use crate::wait::{Ended, Usage, WaitStatus};

/// Makes the whole process end with `status`, unless it is ending already.
pub(crate) fn end_process<M: UserMachine>(task: &Arc<Task<M>>, status: WaitStatus) {
    let process = task.process();
    let mut group = process.group.lock();
    if group.exiting.is_none() {
        group.exiting = Some(status);
        kill_others(&mut group, &process.machine, task);
    }
}

/// Ends a task. Its last act in the kernel.
///
/// # Linux source concept
/// `do_exit()`.
pub(crate) fn end_task<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>, status: WaitStatus) {
    let process = task.process();
    stop_taking_signals(kernel, task);
    let mut usage = task_usage(kernel, task);
    leave_image(kernel, task);
    let space = leave_space(task);
    if let Some(space) = &space {
        kernel.observe_end(task, space);
        process.count_faults(space);
    }
    // Whoever waits for the end may write the file then.
    task.set_running(None);
    finish_vfork(task);
    drop(space);
    task.files().exit();

    (usage.minor_faults, usage.major_faults) = (0, 0);
    process.usage.lock().tasks.add(&usage);
    let last = {
        let mut group = process.group.lock();
        if task.is_leader() {
            group.leader_exit = status;
            *process.remains.lock() = Some(Remains::of(task));
        }
        group.tasks.retain(|other| !Arc::ptr_eq(other, task));
        group.leaving -= 1;
        group
            .tasks
            .is_empty()
            .then(|| group.exiting.unwrap_or(group.leader_exit))
    };
    kernel.tree().remove_task(task.tid());
    process.task_ended.wake_all();
    if let Some(status) = last {
        become_zombie(kernel, process, task, status);
    }
}

/// Gives up the image: whoever waits for it to be left is told. Also on `execve`.
///
/// # Linux source concept
/// `mm_release()`.
pub(crate) fn leave_image<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>) {
    futex::release_robust_list(kernel, task);
    let clear = task.words.lock().clear_child_tid.take();
    if let (Some(at), Some(space)) = (clear, task.space()) {
        // As in Linux, an address that cannot be written is nobody's error.
        let memory = Copier {
            kernel,
            task,
            space: &space,
        };
        if memory.write(at.raw(), &0u32).is_ok() {
            futex::wake_word(kernel, &space, at, 1);
        }
    }
}

/// Tells a `vfork` parent that its image is its own again.
pub(crate) fn finish_vfork<M: UserMachine>(task: &Task<M>) {
    let vfork = task.vfork.lock().take();
    if let Some(vfork) = vfork {
        vfork.done.store(true, Ordering::Release);
        vfork.queue.wake_all();
    }
}

/// # Linux source concept
/// `exit_signals()`.
fn stop_taking_signals<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>) {
    let process = task.process();
    let mut group = process.group.lock();
    let (blocked, owes_stop) = {
        let mut signals = task.signals.lock();
        signals.exiting = true;
        (signals.blocked, core::mem::take(&mut signals.stop_pending))
    };
    task.hand_over(&group, foliant_uapi::SigSet::ALL.difference(blocked));
    let notice = if owes_stop && group.exiting.is_none() {
        count_stopped(&mut group)
    } else {
        None
    };
    drop(group);
    if let Some(notice) = notice {
        tell_parent(kernel, process, notice);
    }
}

/// Takes the task out of its space, which comes back if no other task of the
/// process is left in it.
fn leave_space<M: UserMachine>(task: &Arc<Task<M>>) -> Option<Arc<Space<M>>> {
    let mut group = task.process().group.lock();
    group.leaving += 1;
    let space = task.replace_space(None);
    // Under the lock: whoever comes last must find itself alone. Nothing ends
    // here, because those who are left hold the space as well.
    space.filter(|_| group.leaving == group.tasks.len())
}

/// What a living task has used.
pub(crate) fn task_usage<M: UserMachine>(kernel: &Kernel<M>, task: &Task<M>) -> Usage {
    Usage {
        times: kernel.machine().cpu_times(task.thread()),
        max_rss_kib: task.peak_rss_kib(),
        minor_faults: task.faults.minor.load(Ordering::Relaxed),
        major_faults: task.faults.major.load(Ordering::Relaxed),
    }
}

impl<M: UserMachine> Kernel<M> {
    /// What a process has used, its living tasks included.
    pub fn process_usage(&self, process: &Process<M>) -> Usage {
        let mut usage = process.usage.lock().tasks;
        let (minor, major) = (usage.minor_faults, usage.major_faults);
        let tasks = process.tasks();
        for task in &tasks {
            usage.add(&task_usage(self, task));
        }
        // Faults are the space's: the kernel's own on behalf of the process count too.
        (usage.minor_faults, usage.major_faults) = (minor, major);
        if let Some(space) = tasks.first().and_then(|task| task.space()) {
            let now = process.faults_in(&space);
            usage.minor_faults += now.minor;
            usage.major_faults += now.major;
        }
        usage
    }
}

impl<M: UserMachine> Process<M> {
    /// What `space` has counted since the process came to it.
    fn faults_in(&self, space: &Space<M>) -> FaultBase {
        let (now, before) = (space.count(), *self.inherited_faults.lock());
        FaultBase {
            minor: now.minor_faults.saturating_sub(before.minor),
            major: now.major_faults.saturating_sub(before.major),
        }
    }

    /// The process leaves `space` for a fresh one, or for good.
    pub(crate) fn count_faults(&self, space: &Space<M>) {
        let counted = self.faults_in(space);
        *self.inherited_faults.lock() = FaultBase::default();
        let mut usage = self.usage.lock();
        usage.tasks.minor_faults += counted.minor;
        usage.tasks.major_faults += counted.major;
    }

    /// The process starts in a space that was used before.
    pub(crate) fn inherit_faults(&self, space: &Space<M>) {
        let now = space.count();
        *self.inherited_faults.lock() = FaultBase {
            minor: now.minor_faults,
            major: now.major_faults,
        };
    }

    /// Deletes its POSIX timers.
    pub(crate) fn drop_posix_timers(self: &Arc<Self>, kernel: &Arc<Kernel<M>>) {
        let ids: Vec<i32> = self.timers.lock().posix.keys().copied().collect();
        for id in ids {
            timer::disarm(kernel, self, timer::Which::Posix(id));
            self.timers.lock().posix.remove(&id);
        }
    }
}

/// The last task has ended.
///
/// # Linux source concept
/// `exit_notify()`.
fn become_zombie<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    process: &Arc<Process<M>>,
    last: &Arc<Task<M>>,
    status: WaitStatus,
) {
    process.drop_posix_timers(kernel);
    timer::disarm(kernel, process, timer::Which::Interval(0));
    let id = process.id();
    let past = *process.usage.lock();
    let mut tree = kernel.tree();
    let mut letters = Vec::new();
    hand_over_children(&mut tree, id, &mut letters);
    if let Some(node) = tree.node_mut(id) {
        node.ended = Some(Ended {
            status,
            usage: past.tasks,
            children: past.children,
        });
        node.stopped = None;
        node.continued = false;
    }
    release_groups(&mut tree, id, &mut letters);
    let parent = tell_of_end(&mut tree, id, last, status, &mut letters);
    drop(tree);

    for (process, info) in letters {
        process.send(info);
    }
    match parent {
        Some(parent) => parent.child_events.wake_all(),
        None => kernel.machine().program_event(ProgramEvent::Ended(status)),
    }
    process.ended.wake_all();
}

/// Signals to send once the tree is open again.
type Letters<M> = Vec<(Arc<Process<M>>, SigInfo)>;

/// Children get another parent: the nearest ancestor that wants orphans, else
/// the first process, which waits for nobody: zombies go at once.
///
/// # Linux source concept
/// `forget_original_parent()`.
fn hand_over_children<M: UserMachine>(tree: &mut Tree<M>, id: Pid, letters: &mut Letters<M>) {
    let heir = heir(tree, id);
    let children = tree
        .node_mut(id)
        .map(|node| core::mem::take(&mut node.children))
        .unwrap_or_default();
    for child in children {
        let Some(node) = tree.node_mut(child) else {
            continue;
        };
        node.parent = heir;
        node.exit_signal = Some(Signal::CHLD);
        let process = node.process.clone();
        if let Some(task) = process.any_task()
            && let Some(signal) = Signal::from_raw(i32::from(task.death_signal.load(Ordering::Relaxed)))
        {
            letters.push((
                process.clone(),
                SigInfo::sent(signal, SiCode::USER, id.raw() as u32, 0),
            ));
        }
        let (group, ended) = (node.group, node.ended);
        if let Some(parent) = tree.node_mut(heir) {
            parent.children.push(child);
        }
        match (ended, tree.node(heir).map(|node| node.process.clone())) {
            (Some(_), None) => drop(tree.reap(child)),
            (Some(ended), Some(heir)) => {
                letters.push((heir.clone(), end_notice(child, 0, &ended)));
                heir.child_events.wake_all();
            }
            (None, _) => wake_orphaned_group(tree, group, letters),
        }
    }
}

fn heir<M: UserMachine>(tree: &Tree<M>, id: Pid) -> Pid {
    let mut at = tree.node(id).map_or(Pid::INIT, |node| node.parent);
    while let Some(node) = tree.node(at) {
        if node.subreaper && node.ended.is_none() {
            return at;
        }
        at = node.parent;
    }
    Pid::INIT
}

/// A group that has become orphaned while one of its members is stopped gets
/// `SIGHUP` and `SIGCONT`.
///
/// # Linux source concept
/// `kill_orphaned_pgrp()`.
fn wake_orphaned_group<M: UserMachine>(tree: &Tree<M>, group: Pid, letters: &mut Letters<M>) {
    if !tree.is_orphaned(group, None) || !tree.group(group).any(|node| node.process.is_stopped()) {
        return;
    }
    for node in tree.group(group).filter(|node| node.ended.is_none()) {
        letters.push((node.process.clone(), SigInfo::kernel(Signal::HUP)));
        letters.push((node.process.clone(), SigInfo::kernel(Signal::CONT)));
    }
}

/// A session's leader that ends gives up the terminal; its own group may
/// become orphaned.
fn release_groups<M: UserMachine>(tree: &mut Tree<M>, id: Pid, letters: &mut Letters<M>) {
    let Some((group, session)) = tree.node(id).map(|node| (node.group, node.session)) else {
        return;
    };
    wake_orphaned_group(tree, group, letters);
    if session != id {
        return;
    }
    let state = core::mem::take(tree.session_mut(session));
    if let (true, Some(foreground)) = (state.has_terminal, state.foreground) {
        for node in tree.group(foreground).filter(|node| node.ended.is_none()) {
            letters.push((node.process.clone(), SigInfo::kernel(Signal::HUP)));
            letters.push((node.process.clone(), SigInfo::kernel(Signal::CONT)));
        }
    }
}

/// Tells the parent, or removes the zombie if no parent cares. Returns the
/// parent that may be waiting.
///
/// # Linux source concept
/// `do_notify_parent()`.
fn tell_of_end<M: UserMachine>(
    tree: &mut Tree<M>,
    id: Pid,
    last: &Arc<Task<M>>,
    status: WaitStatus,
    letters: &mut Letters<M>,
) -> Option<Arc<Process<M>>> {
    let node = tree.node(id)?;
    let exit_signal = node.exit_signal;
    let ended = node.ended?;
    debug_assert_eq!(ended.status, status);
    let Some(parent) = tree
        .node(node.parent)
        .map(|parent: &Node<M>| parent.process.clone())
    else {
        // Nobody waits for the first process and for orphans.
        let adopted = node.parent == Pid::INIT;
        tree.reap(id);
        return if adopted {
            Some(last.process().clone())
        } else {
            None
        };
    };

    let action = *parent.actions().lock().get(Signal::CHLD);
    let ignored = action.handler == SigAction::IGNORE;
    let unwanted = ignored || action.flags().contains(SigActionFlags::NOCLDWAIT);
    if let Some(signal) = exit_signal
        && !(signal == Signal::CHLD && ignored)
    {
        let mut info = end_notice(id, last.creds().uid.real, &ended);
        info.signo = i32::from(signal.raw());
        letters.push((parent.clone(), info));
    }
    if exit_signal == Some(Signal::CHLD) && unwanted {
        tree.reap(id);
    }
    Some(parent)
}

/// The `SIGCHLD` of a child that has ended.
pub(crate) fn end_notice(child: Pid, uid: u32, ended: &Ended) -> SigInfo {
    let (code, value) = end_code(ended.status);
    let times = ended.usage.times;
    let ticks = |nanos: u64| nanos / 10_000_000;
    SigInfo::child(
        code,
        child.raw() as u32,
        uid,
        value,
        ticks(times.user.0),
        ticks(times.system.0),
    )
}

/// `si_code` and `si_status` of an end.
pub(crate) fn end_code(status: WaitStatus) -> (SiCode, i32) {
    match status {
        WaitStatus::Exited(code) => (SiCode::CLD_EXITED, i32::from(code)),
        WaitStatus::Killed(signal, false) => (SiCode::CLD_KILLED, i32::from(signal.raw())),
        WaitStatus::Killed(signal, true) => (SiCode::CLD_DUMPED, i32::from(signal.raw())),
        WaitStatus::Stopped(signal) => (SiCode::CLD_STOPPED, i32::from(signal.raw())),
        WaitStatus::Continued => (SiCode::CLD_CONTINUED, i32::from(Signal::CONT.raw())),
    }
}

/// What a task that does not take part in its process's end ends with.
pub(crate) fn status_of<M: UserMachine>(task: &Task<M>) -> WaitStatus {
    let exiting = task.process().group.lock().exiting;
    exiting.unwrap_or(WaitStatus::Exited(0))
}
