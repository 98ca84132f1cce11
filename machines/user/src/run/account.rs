//! Whether a machine whose programs are gone has all its frames back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foliant_kernel::signal::Signal;
use foliant_kernel::{Kernel, Process};
use foliant_phys::{Event, FrameFlags, Owner, Phys, Violation};
use foliant_uapi::signal::SigInfo;
use foliant_units::{PAGE_SHIFT, Pfn};

use super::session::Session;
use crate::machine::User;

/// What became of a machine's frames.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Frame allocations since the start of the first program.
    pub allocations: u64,
    /// Frames that somebody still holds though nobody is left, by purpose.
    pub leaked: BTreeMap<Owner, u64>,
    /// Rules of the frame allocator that were broken, during the run or at its end.
    pub violations: Vec<Violation>,
    /// Tasks that did not end when they were killed.
    pub stuck_tasks: usize,
}

impl Account {
    /// Frames that were leaked.
    pub fn leaked_frames(&self) -> u64 {
        self.leaked.values().sum()
    }

    /// Whether everything is as it must be.
    pub fn is_clean(&self) -> bool {
        self.leaked.is_empty() && self.violations.is_empty() && self.stuck_tasks == 0
    }
}

/// How long killed tasks may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long frames may take to come back from threads that are just leaving.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Time between two looks.
const PAUSE: Duration = Duration::from_micros(500);

impl Session {
    /// Ends all programs, drops all caches, and looks whether every frame that
    /// was free before the first program is free again. Afterwards nothing can
    /// run on the machine any more.
    ///
    /// Takes time in proportion to RAM.
    pub fn account(&self) -> Account {
        let phys = self.kernel().memory().phys();
        phys.fail_at(0);
        let stuck_tasks = end_all(self.kernel());
        self.kernel().stop_compaction();
        self.drop_caches();
        let (own, before) = self.at_first();
        // Memory that came has records, which are nobody's leak.
        let records = phys.frames_for_added();
        let own = own + records;
        let deadline = Instant::now() + AFTERMATH;
        while held(phys) > own && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }

        let mut violations = Vec::new();
        if phys.events(Event::Violation) > 0 {
            violations.extend(phys.last_violation());
        }
        let census = phys.audit(&mut |violation| violations.push(violation));
        let leaked = if census.allocated > own {
            holders(phys, self.machine().ram_size(), own - records, records)
        } else {
            BTreeMap::new()
        };
        Account {
            allocations: phys.allocations() - before,
            leaked,
            violations,
            stuck_tasks,
        }
    }
}

/// Frames that somebody holds.
pub(super) fn held(phys: &Phys<User>) -> u64 {
    let stats = phys.stats();
    stats.total - stats.free
}

/// Kills every process, those included that are born meanwhile. Returns how
/// many tasks are left when patience is over.
fn end_all(kernel: &Kernel<User>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let processes: Vec<Arc<Process<User>>> = {
            let tree = kernel.tree();
            if tree.task_count() == 0 || Instant::now() > deadline {
                return tree.task_count();
            }
            tree.nodes().map(|(_, node)| node.process.clone()).collect()
        };
        for process in processes {
            process.send(SigInfo::kernel(Signal::KILL));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Who holds frames, without `own` frames of the machine's own and `records` of
/// memory that came.
fn holders(phys: &Phys<User>, ram: u64, own: u64, records: u64) -> BTreeMap<Owner, u64> {
    let mut held = BTreeMap::new();
    for pfn in (0..ram >> PAGE_SHIFT).map(Pfn::new) {
        let Some(record) = phys.find_record(pfn) else {
            continue;
        };
        if record.refs.get() != 0 && !record.has(FrameFlags::RESERVED) {
            *held.entry(record.owner()).or_default() += record.order().frames();
        }
    }
    for (owner, own) in [(Owner::Kernel, own), (Owner::Records, records)] {
        if let Some(frames) = held.get_mut(&owner) {
            *frames -= own.min(*frames);
        }
    }
    held.retain(|_, frames| *frames > 0);
    held
}
