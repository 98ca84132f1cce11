//! `status`, `stat` and `statm` of a process.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use foliant_mm::{CounterSnapshot, ThpMode};
use foliant_uapi::resource::Resource;
use foliant_uapi::signal::{SigAction, SigSet, Signal};
use foliant_uapi::text::{
    AddressMask, Capabilities, Groups, Ids, Kib, NamespaceIds, PidStat, SignalQueue, Statm, Status,
    TaskState, Umask,
};
use foliant_units::{Errno, PAGE_SIZE};

use super::Subject;
use crate::creds::{Credentials, Ids as CredIds};
use crate::exec::Image;
use crate::machine::UserMachine;
use crate::park::Doing;
use crate::pid::Pid;
use crate::process::{Process, Remains};
use crate::task::Task;

/// KiB of a page.
const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;
/// Nanoseconds of a clock tick.
const TICK: u64 = 10_000_000;

/// The name of a task, without zero bytes.
pub(super) fn name<M: UserMachine>(subject: &Subject<M>) -> Result<Vec<u8>, Errno> {
    let name = who(subject)?.name;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(name[..end].to_vec())
}

/// The task, or what is left of it.
fn who<M: UserMachine>(subject: &Subject<M>) -> Result<Remains, Errno> {
    if let Ok(task) = subject.task() {
        return Ok(Remains::of(&task));
    }
    let process = subject.process()?;
    let left = process.remains.lock().clone();
    left.ok_or(Errno::SRCH)
}

/// What the tree knows of a process.
struct Relations {
    parent: i32,
    group: i32,
    session: i32,
    foreground: i32,
    terminal: bool,
    zombie: bool,
    exit_signal: i32,
}

fn relations<M: UserMachine>(subject: &Subject<M>, process: &Process<M>) -> Result<Relations, Errno> {
    let kernel = subject.kernel()?;
    let tree = kernel.tree();
    let node = tree.node(process.id()).ok_or(Errno::SRCH)?;
    let session = tree.session(node.session);
    Ok(Relations {
        parent: node.parent.raw(),
        group: node.group.raw(),
        session: node.session.raw(),
        foreground: session
            .and_then(|session| session.foreground)
            .map_or(-1, Pid::raw),
        terminal: session.is_some_and(|session| session.has_terminal),
        zombie: node.ended.is_some(),
        exit_signal: node.exit_signal.map_or(0, |signal| i32::from(signal.raw())),
    })
}

/// The state of a task; that of a process is its leader's, which is a zombie
/// once it has ended, whoever else lives.
fn state<M: UserMachine>(
    subject: &Subject<M>,
    task: Option<&Arc<Task<M>>>,
    relations: &Relations,
) -> TaskState {
    let shown = |task: &&Arc<Task<M>>| subject.thread.is_some() || task.is_leader();
    match task.filter(shown) {
        Some(task) if !relations.zombie => {
            if task.signals.lock().stopped {
                return TaskState::Stopped;
            }
            match task.parker().doing() {
                Doing::Runs => TaskState::Running,
                Doing::Sleeps => TaskState::Sleeping,
                Doing::SleepsDeeply => TaskState::DiskSleep,
            }
        }
        _ => TaskState::Zombie,
    }
}

fn ids(from: CredIds) -> Ids {
    Ids([from.real, from.effective, from.saved, from.files])
}

/// Signals by what is done about them: ignored, caught.
fn actions<M: UserMachine>(process: &Process<M>) -> (SigSet, SigSet) {
    let actions = process.actions();
    let actions = actions.lock();
    let mut sets = (SigSet::EMPTY, SigSet::EMPTY);
    for signal in (1..=64).filter_map(Signal::from_raw) {
        match actions.get(signal).handler {
            SigAction::DEFAULT => {}
            SigAction::IGNORE => sets.0 = sets.0.with(signal),
            _ => sets.1 = sets.1.with(signal),
        }
    }
    sets
}

fn counters<M: UserMachine>(task: Option<&Arc<Task<M>>>) -> Option<CounterSnapshot> {
    Some(task?.space()?.count())
}

/// Bytes of code, whole pages.
fn text_bytes(image: &Image) -> u64 {
    let page = PAGE_SIZE as u64;
    image
        .code
        .end
        .raw()
        .next_multiple_of(page)
        .saturating_sub(image.code.start.raw() / page * page)
}

/// `status`.
pub(super) fn status<M: UserMachine>(subject: &Subject<M>) -> Result<Status, Errno> {
    let process = subject.process()?;
    let relations = relations(subject, &process)?;
    let task = subject.task().ok();
    let id = subject.thread.unwrap_or(process.id()).raw();
    let mut out = Status {
        name: name(subject)?,
        state: Some(state(subject, task.as_ref(), &relations)),
        tgid: Some(process.id().raw()),
        ngid: Some(0),
        pid: Some(id),
        ppid: Some(relations.parent),
        tracer_pid: Some(0),
        ns_tgid: Some(NamespaceIds(vec![process.id().raw()])),
        ns_pid: Some(NamespaceIds(vec![id])),
        ns_pgid: Some(NamespaceIds(vec![relations.group])),
        ns_sid: Some(NamespaceIds(vec![relations.session])),
        kthread: Some(0),
        threads: Some(process.tasks().len().max(1) as u32),
        ..Status::default()
    };
    signals(&mut out, &process, task.as_ref());
    let who = who(subject)?;
    credentials(&mut out, &who.creds);
    out.fd_size = Some(0);
    if let Some(task) = &task {
        let files = task.files();
        out.umask = Some(Umask(files.context().umask()));
        out.fd_size = Some(files.table().capacity() as u32);
        memory(&mut out, task);
    }
    let cpus = who.sched.affinity;
    out.cpus_allowed = Some(alloc::format!("{cpus:x}"));
    out.cpus_allowed_list = Some(list(cpus));
    out.seccomp = Some(0);
    out.seccomp_filters = Some(0);
    out.speculation_store_bypass = Some("thread vulnerable".into());
    out.speculation_indirect_branch = Some("conditional enabled".into());
    out.mems_allowed = Some("1".into());
    out.mems_allowed_list = Some("0".into());
    out.voluntary_ctxt_switches = Some(who.naps);
    out.nonvoluntary_ctxt_switches = Some(0);
    Ok(out)
}

/// CPU numbers as ranges.
fn list(mask: u64) -> alloc::string::String {
    let mut text = alloc::string::String::new();
    let mut cpu = 0;
    while cpu < 64 {
        if mask >> cpu & 1 == 0 {
            cpu += 1;
            continue;
        }
        let length = (!(mask >> cpu)).trailing_zeros().max(1);
        let comma = if text.is_empty() { "" } else { "," };
        text += &match length {
            1 => alloc::format!("{comma}{cpu}"),
            more => alloc::format!("{comma}{cpu}-{}", cpu + more - 1),
        };
        cpu += length;
    }
    text
}

fn signals<M: UserMachine>(out: &mut Status, process: &Process<M>, task: Option<&Arc<Task<M>>>) {
    let (ignored, caught) = actions(process);
    let (shared, queued) = {
        let group = process.group.lock();
        (group.pending.set(), group.pending.queued())
    };
    let own = task.map(|task| {
        let signals = task.signals.lock();
        (signals.pending.set(), signals.blocked)
    });
    let (pending, blocked) = own.unwrap_or((SigSet::EMPTY, SigSet::EMPTY));
    out.sig_q = Some(SignalQueue {
        queued: queued as u64,
        limit: process.limit(Resource::Sigpending),
    });
    out.sig_pnd = Some(pending);
    out.shd_pnd = Some(shared);
    out.sig_blk = Some(blocked);
    out.sig_ign = Some(ignored);
    out.sig_cgt = Some(caught);
}

fn credentials(out: &mut Status, creds: &Credentials) {
    out.uid = Some(ids(creds.uid));
    out.gid = Some(ids(creds.gid));
    out.groups = Some(Groups(creds.groups.to_vec()));
    out.cap_inh = Some(Capabilities(creds.caps.inheritable));
    out.cap_prm = Some(Capabilities(creds.caps.permitted));
    out.cap_eff = Some(Capabilities(creds.caps.effective));
    out.cap_bnd = Some(Capabilities(creds.caps.bounding));
    out.cap_amb = Some(Capabilities(creds.caps.ambient));
    out.no_new_privs = Some(u32::from(creds.no_new_privs));
}

fn memory<M: UserMachine>(out: &mut Status, task: &Arc<Task<M>>) {
    let Some(count) = counters(Some(task)) else { return };
    let kib = |pages: u64| Some(Kib(pages * PAGE_KIB));
    let text = (text_bytes(&task.image()) / 1024).min(count.exec_vm * PAGE_KIB);
    out.vm_peak = kib(count.peak_vm.max(count.total_vm));
    out.vm_size = kib(count.total_vm);
    out.vm_lck = kib(count.locked_vm);
    out.vm_pin = kib(count.pinned_vm);
    out.vm_hwm = kib(count.peak_rss.max(count.rss.total()));
    out.vm_rss = kib(count.rss.total());
    out.rss_anon = kib(count.rss.anon);
    out.rss_file = kib(count.rss.file);
    out.rss_shmem = kib(count.rss.shmem);
    out.vm_data = kib(count.data_vm);
    out.vm_stk = kib(count.stack_vm);
    out.vm_exe = Some(Kib(text));
    out.vm_lib = Some(Kib(count.exec_vm * PAGE_KIB - text));
    out.vm_pte = task.space().map(|space| Kib(space.table_bytes() / 1024));
    out.vm_swap = Some(Kib(0));
    out.hugetlb_pages = Some(Kib(0));
    out.core_dumping = Some(0);
    let enabled = task.space().is_some_and(|space| space.thp_mode() != ThpMode::Off);
    out.thp_enabled = Some(u32::from(enabled));
    out.untag_mask = Some(AddressMask(u64::MAX));
}

/// `statm`; all zero for a process without memory.
pub(super) fn statm<M: UserMachine>(subject: &Subject<M>) -> Statm {
    let task = subject.task().ok();
    let (Some(task), Some(count)) = (&task, counters(task.as_ref())) else {
        return Statm::default();
    };
    Statm {
        size: count.total_vm,
        resident: count.rss.total(),
        shared: count.rss.file + count.rss.shmem,
        text: text_bytes(&task.image()) / PAGE_SIZE as u64,
        data: count.data_vm + count.stack_vm,
    }
}

/// `stat`.
pub(super) fn stat<M: UserMachine>(subject: &Subject<M>) -> Result<PidStat, Errno> {
    let kernel = subject.kernel()?;
    let process = subject.process()?;
    let relations = relations(subject, &process)?;
    let usage = kernel.process_usage(&process);
    let children = process.usage.lock().children;
    let (ignored, caught) = actions(&process);
    let task = subject.task().ok();
    let mut out = PidStat {
        pid: subject.thread.unwrap_or(process.id()).raw(),
        comm: name(subject)?,
        state: state(subject, task.as_ref(), &relations).letter(),
        ppid: relations.parent,
        pgrp: relations.group,
        session: relations.session,
        tty_nr: if relations.terminal { 0x8800 } else { 0 },
        tpgid: relations.foreground,
        flags: 0x40_0000,
        minflt: usage.minor_faults,
        cminflt: children.minor_faults,
        majflt: usage.major_faults,
        cmajflt: children.major_faults,
        utime: usage.times.user.0 / TICK,
        stime: usage.times.system.0 / TICK,
        cutime: (children.times.user.0 / TICK) as i64,
        cstime: (children.times.system.0 / TICK) as i64,
        priority: 20,
        num_threads: process.tasks().len().max(1) as i64,
        rsslim: process.limit(Resource::Rss),
        sigignore: ignored.bits() & 0x7fff_ffff,
        sigcatch: caught.bits() & 0x7fff_ffff,
        exit_signal: relations.exit_signal,
        ..PidStat::default()
    };
    let who = who(subject)?;
    out.nice = i64::from(who.sched.nice);
    out.priority = 20 + i64::from(who.sched.nice);
    out.rt_priority = who.sched.priority;
    out.policy = who.sched.policy;
    out.starttime = who.started.0 / TICK;
    if let Some(task) = &task {
        out.blocked = task.blocked().bits() & 0x7fff_ffff;
        places(&mut out, task);
    }
    Ok(out)
}

/// The addresses that the image has.
fn places<M: UserMachine>(out: &mut PidStat, task: &Arc<Task<M>>) {
    let Some(count) = counters(Some(task)) else { return };
    let image = task.image();
    out.vsize = count.total_vm * PAGE_SIZE as u64;
    out.rss = count.rss.total() as i64;
    out.startcode = image.code.start.raw();
    out.endcode = image.code.end.raw();
    out.startstack = image.stack;
    out.start_data = image.data.start.raw();
    out.end_data = image.data.end.raw();
    out.start_brk = task.space().map_or(0, |space| space.layout().heap.start.raw());
    out.arg_start = image.args.start.raw();
    out.arg_end = image.args.end.raw();
    out.env_start = image.env.start.raw();
    out.env_end = image.env.end.raw();
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn cpu_lists_are_ranges() {
        assert_eq!(list(0b1), "0");
        assert_eq!(list(0b1011), "0-1,3");
        assert_eq!(list(u64::MAX), "0-63");
        assert_eq!(list(0), "");
    }
}
