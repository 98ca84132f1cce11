//! Making tasks and processes.

use alloc::sync::Arc;

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::clone::CloneFlags;
use foliant_uapi::resource::{Resource, Rlimit};
use foliant_uapi::signal::Signal;
use foliant_units::{Errno, VirtAddr};

use crate::creds::Capability;
use crate::machine::{Origin, Start, UserCpu, UserMachine, UserRegs};
use crate::park::{Interrupt, Parker};
use crate::pid::{Node, Pid, Tree};
use crate::process::Process;
use crate::syscall::{Ctx, Fail, Restart};
use crate::task::{Parts, Task, UserWords, Vfork};

/// What a new task is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request {
    /// What it shares, and what else is to be done.
    pub(crate) flags: CloneFlags,
    /// What tells the parent of its end.
    pub(crate) exit_signal: Option<Signal>,
    /// Its stack pointer; 0 for the parent's.
    pub(crate) stack: u64,
    /// Where the parent finds its number.
    pub(crate) parent_tid: u64,
    /// Where it finds its own number.
    pub(crate) child_tid: u64,
    /// Its thread pointer.
    pub(crate) tls: u64,
    /// The number it is to have.
    pub(crate) set_tid: Option<Pid>,
}

/// What a process can have a view of its own of; not here.
pub(crate) const NAMESPACES: CloneFlags = CloneFlags::NEWNS
    .union(CloneFlags::NEWCGROUP)
    .union(CloneFlags::NEWUTS)
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWUSER)
    .union(CloneFlags::NEWPID)
    .union(CloneFlags::NEWNET)
    .union(CloneFlags::NEWTIME);

/// Makes a task as `request` says and starts it; returns it.
///
/// # Errors
/// `INVAL` for flags that contradict each other, `PERM` for namespaces, `AGAIN`
/// for limits, `NOMEM`. `NoIntr` if a signal came first.
///
/// # Linux source concept
/// `copy_process()`.
pub(crate) fn clone<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    request: &Request,
) -> Result<Arc<Task<M>>, Fail<M>> {
    check(request.flags)?;
    let parent = ctx.task;
    if !request.flags.contains(CloneFlags::THREAD) && parent.parker().interrupted(Interrupt::BySignal) {
        // A group that a signal is killing must not have a child that escapes it.
        return Err(Fail::Restart(Restart::NoIntr));
    }
    check_limits(ctx)?;

    let regs = child_regs(ctx.cpu.regs(), request);
    let child = make(ctx, request)?;
    if let Err(errno) = publish(ctx, request, &child) {
        child.files().exit();
        return Err(errno.into());
    }
    tell_numbers(ctx, request, &child);

    let shares_space = request.flags.contains(CloneFlags::VM);
    let origin = if shares_space {
        Origin::Thread(ctx.cpu)
    } else {
        Origin::Fork(ctx.cpu)
    };
    let started = ctx.kernel.machine().start(Start {
        task: &child,
        origin,
        regs,
    });
    if let Err(errno) = started {
        withdraw(ctx, &child);
        return Err(errno.into());
    }
    Ok(child)
}

/// Waits until a `vfork` child has left the parent's image.
pub(crate) fn wait_for_vfork<M: UserMachine>(ctx: &Ctx<'_, M>, vfork: &Vfork) {
    let ready = || vfork.done.load(Ordering::Acquire).then_some(());
    // Only a fatal signal ends this wait early, and that is seen to on the way out.
    let _ = vfork
        .queue
        .wait(ctx.task.parker(), Interrupt::ByKill, None, ready);
}

fn check(flags: CloneFlags) -> Result<(), Errno> {
    let all = |wanted: CloneFlags| flags.contains(wanted);
    if all(CloneFlags::NEWNS | CloneFlags::FS) || all(CloneFlags::NEWUSER | CloneFlags::FS) {
        return Err(Errno::INVAL);
    }
    if all(CloneFlags::THREAD) && !all(CloneFlags::SIGHAND)
        || all(CloneFlags::SIGHAND) && !all(CloneFlags::VM)
        || all(CloneFlags::THREAD) && flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID)
        || all(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
    {
        return Err(Errno::INVAL);
    }
    // Namespaces are not there; this is what one without the right to them sees.
    if flags.intersects(NAMESPACES) {
        Err(Errno::PERM)
    } else {
        Ok(())
    }
}

fn check_limits<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<(), Errno> {
    let creds = ctx.task.creds();
    let limit = ctx.task.process().limit(Resource::Nproc);
    let bound = limit != Rlimit::INFINITY
        && creds.uid.real != 0
        && !creds.has(Capability::SysResource)
        && !creds.has(Capability::SysAdmin);
    let tree = ctx.kernel.tree();
    let over = bound && tasks_of(&tree, creds.uid.real) >= limit;
    if over || tree.task_count() as u64 >= ctx.kernel.settings().max_tasks {
        Err(Errno::AGAIN)
    } else {
        Ok(())
    }
}

/// Threads and zombies of a user.
///
/// # Linux source concept
/// `UCOUNT_RLIMIT_NPROC`; there the user's processes outside of the machine count too.
fn tasks_of<M: UserMachine>(tree: &Tree<M>, user: u32) -> u64 {
    let count = |node: &Node<M>| {
        let tasks = node.process.tasks();
        if tasks.is_empty() {
            let left = node.process.remains.lock();
            return u64::from(left.as_ref().is_some_and(|left| left.creds.uid.real == user));
        }
        let own = tasks.iter().filter(|task| task.creds().uid.real == user);
        own.count() as u64
    };
    tree.nodes().map(|(_, node)| count(node)).sum()
}

fn child_regs(parent: &UserRegs, request: &Request) -> UserRegs {
    let mut regs = *parent;
    regs.rax = 0;
    if request.stack != 0 {
        regs.rsp = request.stack;
    }
    if request.flags.contains(CloneFlags::SETTLS) {
        regs.fs_base = request.tls;
    }
    regs
}

/// Builds the task, which nobody knows yet.
fn make<M: UserMachine>(ctx: &Ctx<'_, M>, request: &Request) -> Result<Arc<Task<M>>, Errno> {
    let flags = request.flags;
    let parent = ctx.task;
    let shares_space = flags.contains(CloneFlags::VM);
    let space = ctx.space()?;
    let space = if shares_space { space } else { space.fork()? };
    let files = parent
        .files()
        .for_clone(flags.contains(CloneFlags::FILES), flags.contains(CloneFlags::FS))?;
    let machine = ctx.kernel.machine();
    let thread = machine.thread()?;
    let tid = match request.set_tid {
        Some(tid) => tid,
        None => ctx.kernel.tree().unused().ok_or(Errno::AGAIN)?,
    };

    let process = if flags.contains(CloneFlags::THREAD) {
        parent.process().clone()
    } else {
        new_process(ctx, flags, tid)
    };
    // `vfork` runs on the parent's memory, but on its stacks in turn.
    let keep_stack = !shares_space || flags.contains(CloneFlags::VFORK);
    if shares_space && !flags.contains(CloneFlags::THREAD) {
        process.inherit_faults(&space);
    }
    let clear = flags.contains(CloneFlags::CHILD_CLEARTID);
    Ok(Task::new(Parts {
        tid,
        process,
        parker: Parker::new(machine.sleeper()),
        thread,
        space,
        image: parent.image(),
        running: parent.running(),
        files,
        creds: parent.creds(),
        signals: parent.signals.lock().for_child(keep_stack),
        sched: parent.sched.lock().for_child(),
        words: UserWords {
            clear_child_tid: clear.then_some(VirtAddr::new(request.child_tid)),
            robust_list: None,
        },
        vfork: flags.contains(CloneFlags::VFORK).then(Arc::<Vfork>::default),
        name: parent.name(),
        timer_slack: parent.timer_slack.load(Ordering::Relaxed),
    }))
}

fn new_process<M: UserMachine>(ctx: &Ctx<'_, M>, flags: CloneFlags, id: Pid) -> Arc<Process<M>> {
    let parent = ctx.task.process();
    let actions = parent.actions();
    let actions = if flags.contains(CloneFlags::SIGHAND) {
        actions
    } else {
        let mut own = actions.lock().clone();
        if flags.contains(CloneFlags::CLEAR_SIGHAND) {
            own.reset_handlers();
        }
        Arc::new(SpinLock::new(own))
    };
    let limits = parent.limits.lock().clone();
    let process = Process::new(id, ctx.kernel.machine().clone(), actions, limits);
    process.inherit(parent);
    Arc::new(process)
}

/// Makes the task known to its relatives.
fn publish<M: UserMachine>(ctx: &Ctx<'_, M>, request: &Request, child: &Arc<Task<M>>) -> Result<(), Errno> {
    let mut tree = ctx.kernel.tree();
    let process = child.process();
    {
        let mut group = process.group.lock();
        if group.exiting.is_some() || group.execing.is_some() {
            return Err(Errno::AGAIN);
        }
        group.tasks.push(child.clone());
    }
    tree.add_task(child);
    if request.flags.contains(CloneFlags::THREAD) {
        return Ok(());
    }

    let own = ctx.task.process().id();
    let Some(node) = tree.node(own) else {
        return Err(Errno::AGAIN);
    };
    let parent = if request.flags.contains(CloneFlags::PARENT) {
        node.parent
    } else {
        own
    };
    let inherited = if request.flags.contains(CloneFlags::PARENT) {
        node.exit_signal
    } else {
        request.exit_signal
    };
    let node = Node {
        process: process.clone(),
        parent,
        children: alloc::vec::Vec::new(),
        group: node.group,
        session: node.session,
        subreaper: false,
        has_execed: false,
        ended: None,
        stopped: None,
        continued: false,
        exit_signal: inherited,
    };
    tree.add_process(node);
    Ok(())
}

/// Stores the child's number where both asked for it. As in Linux, an address
/// that cannot be written is nobody's error.
fn tell_numbers<M: UserMachine>(ctx: &Ctx<'_, M>, request: &Request, child: &Arc<Task<M>>) {
    let number = child.tid().raw();
    if let (true, Some(space)) = (
        request.flags.contains(CloneFlags::PARENT_SETTID),
        ctx.task.space(),
    ) {
        let _ = ctx.copier(&space).write(request.parent_tid, &number);
    }
    if let (true, Some(space)) = (request.flags.contains(CloneFlags::CHILD_SETTID), child.space()) {
        let _ = ctx.copier(&space).write(request.child_tid, &number);
    }
}

/// Takes back a task that the machine could not start.
fn withdraw<M: UserMachine>(ctx: &Ctx<'_, M>, child: &Arc<Task<M>>) {
    let mut tree = ctx.kernel.tree();
    tree.remove_task(child.tid());
    let process = child.process();
    process
        .group
        .lock()
        .tasks
        .retain(|task| !Arc::ptr_eq(task, child));
    if !Arc::ptr_eq(process, ctx.task.process()) {
        tree.reap(process.id());
    }
    drop(tree);
    child.files().exit();
    child.replace_space(None);
}
