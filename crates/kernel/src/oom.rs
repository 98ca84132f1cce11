//! When no frame can be had for a fault.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::signal::Signal;

use crate::kernel::Kernel;
use crate::machine::{OomReport, UserMachine};
use crate::process::Process;
use crate::signal::Target;
use crate::task::Task;

/// Kills the process that holds most memory. The faulting task tries again
/// when it returns to user mode: the victim's frames are free then, or it is
/// the victim.
///
/// # Linux source concept
/// `out_of_memory()`, `oom_badness()`.
pub(crate) fn kill_somebody<M: UserMachine>(kernel: &Arc<Kernel<M>>, task: &Arc<Task<M>>) {
    let processes: Vec<Arc<Process<M>>> = {
        let tree = kernel.tree();
        tree.nodes().map(|(_, node)| node.process.clone()).collect()
    };
    if processes.iter().any(|process| is_dying(process)) {
        // Somebody is on the way out and frees what it has.
        return;
    }
    let victim = processes
        .iter()
        .max_by_key(|process| weight(process))
        .unwrap_or(task.process());
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

/// Frames and tables that the end of the process would free.
fn weight<M: UserMachine>(process: &Process<M>) -> u64 {
    let space = process.any_task().and_then(|task| task.space());
    space.map_or(0, |space| {
        space.count().rss.total() + space.table_bytes() / foliant_units::PAGE_SIZE as u64
    })
}
