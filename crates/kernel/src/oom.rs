//! When no frame can be had for a fault.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::signal::Signal;

use crate::kernel::Kernel;
use crate::machine::{OomReport, UserMachine};
use crate::park::Interrupt;
use crate::process::Process;
use crate::signal::Target;
use crate::task::Task;

/// A copy from or to user memory that gets no frame, for the time of one
/// system call's copy.
pub(crate) struct Shortage<'a, M: UserMachine> {
    kernel: &'a Kernel<M>,
    task: &'a Arc<Task<M>>,
    waits: u32,
}

/// How long one wait for a victim's frames takes, and how many there are. The
/// victim may need a lock that the copying task holds; then the copy fails.
const WAIT: Nanos = Nanos(1_000_000);
const WAITS: u32 = 2000;

impl<'a, M: UserMachine> Shortage<'a, M> {
    /// Nothing was missing so far.
    pub(crate) fn new(kernel: &'a Kernel<M>, task: &'a Arc<Task<M>>) -> Self {
        let waits = 0;
        Self { kernel, task, waits }
    }

    /// Kills somebody, if nobody is dying, and waits a little. True if the copy
    /// is to be tried again; false if the task itself is to die.
    pub(crate) fn relieve(&mut self) -> bool {
        let is_doomed = || self.task.parker().interrupted(Interrupt::ByKill);
        if is_doomed() || self.waits == WAITS {
            return false;
        }
        kill_somebody(self.kernel, self.task);
        let parker = self.task.parker();
        let until = Nanos(parker.now().0 + WAIT.0);
        // Always ends by the time or by a kill.
        let _ = parker.park(Interrupt::ByKill, Some(until), || None::<()>);
        self.waits += 1;
        !is_doomed()
    }
}

/// Kills the process that holds most memory. The faulting task tries again
/// when it returns to user mode: the victim's frames are free then, or it is
/// the victim.
///
/// # Linux source concept
/// `out_of_memory()`, `oom_badness()`.
pub(crate) fn kill_somebody<M: UserMachine>(kernel: &Kernel<M>, task: &Arc<Task<M>>) {
    let processes: Vec<Arc<Process<M>>> = {
        let tree = kernel.tree();
        tree.nodes().map(|(_, node)| node.process.clone()).collect()
    };
    if processes.iter().any(|process| is_dying(process)) {
        // Somebody is on the way out and frees what it has.
        return;
    }
    let total = kernel.memory().phys().stats().total;
    let victim = processes
        .iter()
        .filter(|process| process.any_task().is_some())
        .filter_map(|process| badness(process, total).map(|points| (points, process)))
        .max_by_key(|&(points, _)| points)
        .map_or(task.process(), |(_, process)| process);
    let (pages, name) = (
        weight(victim),
        victim.any_task().map_or([0; 16], |task| task.name()),
    );
    kernel.machine().out_of_memory(OomReport {
        pid: victim.id(),
        name,
        resident_pages: pages,
    });
    victim.post(Target::Process, foliant_uapi::SigInfo::kernel(Signal::KILL));
}

fn is_dying<M: UserMachine>(process: &Process<M>) -> bool {
    let group = process.group.lock();
    group.exiting.is_some() && !group.tasks.is_empty()
}

/// How good a choice a process is, in frames of `total`; `None` if it must not
/// be chosen.
///
/// # Linux source concept
/// `oom_badness()`.
pub(crate) fn badness<M: UserMachine>(process: &Process<M>, total: u64) -> Option<i64> {
    let adjustment = i64::from(process.oom_adjustment.load(Ordering::Relaxed));
    if adjustment == NEVER {
        return None;
    }
    Some(weight(process) as i64 + adjustment * (total as i64 / 1000))
}

/// `oom_score_adj` of a process that is never chosen.
const NEVER: i64 = -1000;
/// The ends of the scale of `oom_adj`.
const LEGACY_NEVER: i32 = -17;
const LEGACY_MOST: i32 = 15;

/// `oom_adj` for an `oom_score_adj`.
pub(crate) fn to_legacy(adjustment: i32) -> i32 {
    match adjustment {
        1000 => LEGACY_MOST,
        other => other * -LEGACY_NEVER / 1000,
    }
}

/// `oom_score_adj` for an `oom_adj`.
pub(crate) fn from_legacy(adjustment: i32) -> i32 {
    match adjustment {
        LEGACY_MOST => 1000,
        other => other * 1000 / -LEGACY_NEVER,
    }
}

/// Frames and tables that the end of the process would free.
fn weight<M: UserMachine>(process: &Process<M>) -> u64 {
    let space = process.any_task().and_then(|task| task.space());
    space.map_or(0, |space| {
        space.count().rss.total() + space.table_bytes() / foliant_units::PAGE_SIZE as u64
    })
}
