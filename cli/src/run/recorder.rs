//! Gathers what the report tells, while the program runs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use foliant_kernel::{CallResult, Kernel, Observer, Space, Task};
use foliant_mm::{Access, CounterSnapshot, FaultError, FaultTally, Outcome, Resolved, Rss};
use foliant_units::VirtAddr;
use foliant_user::User;

use super::look::Look;
use super::owners::Owners;
use super::trace::Trace;
use crate::report::{Area, Count, Moment, Process, Resident};

/// Images that are kept in full; of later ones only the sums are.
const IMAGES: usize = 400;
/// Time between two samples at first; it doubles when there are too many.
const INTERVAL: Duration = Duration::from_millis(5);
/// Most samples.
const MOMENTS: usize = 1000;

/// The observer of one run.
pub(super) struct Recorder {
    start: Instant,
    kernel: OnceLock<Weak<Kernel<User>>>,
    past: Mutex<Past>,
    faults: AtomicU64,
    timeline: Mutex<Vec<Moment>>,
    trace: Option<Trace>,
    look: Option<Look>,
    owners: Option<Owners>,
    /// The first process, zero until there is one.
    first: AtomicU64,
}

/// What is known of images that were left.
#[derive(Default)]
pub(super) struct Past {
    /// The images, in the order in which they were left.
    pub(super) images: Vec<Process>,
    /// Images beyond those.
    pub(super) left_out: u64,
    /// Faults of all of them.
    pub(super) faults: FaultTally,
}

impl Recorder {
    pub(super) fn new(trace: Option<Trace>, look: Option<Look>, owners: Option<Owners>) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            kernel: OnceLock::new(),
            past: Mutex::default(),
            faults: AtomicU64::new(0),
            timeline: Mutex::default(),
            trace,
            look,
            owners,
            first: AtomicU64::new(0),
        })
    }

    /// Says whose spaces are sampled, and begins.
    pub(super) fn watch(self: &Arc<Self>, kernel: &Arc<Kernel<User>>) -> std::io::Result<()> {
        let _first_only = self.kernel.set(Arc::downgrade(kernel));
        let recorder = Arc::downgrade(self);
        let sampler = std::thread::Builder::new().name("foliant-sampler".into());
        sampler.spawn(move || sample_while_it_lives(&recorder))?;
        let Some(delay) = self.look.as_ref().and_then(Look::delay) else {
            return Ok(());
        };
        let recorder = Arc::downgrade(self);
        let looker = std::thread::Builder::new().name("foliant-looker".into());
        looker.spawn(move || look_after(delay, &recorder)).map(drop)
    }

    /// What looks at page tables, if anything does.
    pub(super) fn look(&self) -> Option<&Look> {
        self.look.as_ref()
    }

    /// What looks at the owners of frames, if anything does.
    pub(super) fn owners(&self) -> Option<&Owners> {
        self.owners.as_ref()
    }

    /// Shows all frames to whoever looks at their owners, if that is the first
    /// process, or if it was killed before anybody could look.
    fn show_owners(&self, pid: Option<u64>) {
        let Some(owners) = &self.owners else { return };
        let due = pid.map_or(owners.is_blind(), |pid| pid == self.first());
        if let Some(kernel) = self.kernel.get().and_then(Weak::upgrade).filter(|_| due) {
            owners.look(kernel.memory().phys());
        }
    }

    /// Shows a process to whoever looks at page tables.
    fn show(&self, pid: u64, name: &str, space: &Space<User>) {
        if let Some(look) = &self.look {
            look.at(pid, self.first(), name, space);
        }
    }

    /// The process of the program itself: while any process leaves its space for
    /// the first time it is still there, and has the lowest number.
    fn first(&self) -> u64 {
        let Some(kernel) = self.kernel.get().and_then(Weak::upgrade) else {
            return 0;
        };
        let lowest = kernel.tree().nodes().map(|(pid, _)| pid.raw() as u64).min();
        let known = self
            .first
            .compare_exchange(0, lowest.unwrap_or(0), Ordering::Relaxed, Ordering::Relaxed);
        known.err().or(lowest).unwrap_or(0)
    }

    /// Whether page tables are looked at when a process ends.
    fn looks_at_ends(&self) -> bool {
        self.look.as_ref().is_some_and(|look| look.delay().is_none())
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Everything gathered so far, with the processes that still live.
    pub(super) fn take(&self) -> (Past, Vec<Moment>) {
        self.sample();
        self.show_owners(None);
        for (pid, name, space) in self.living() {
            self.remember(pid, &name, &space);
            if self.looks_at_ends() {
                self.show(pid, &name, &space);
            }
        }
        let past = std::mem::take(&mut *self.past());
        let timeline =
            std::mem::take(&mut *self.timeline.lock().unwrap_or_else(|poison| poison.into_inner()));
        (past, timeline)
    }

    /// Writes what the trace still holds back.
    pub(super) fn finish(&self) -> std::io::Result<()> {
        self.trace.as_ref().map_or(Ok(()), Trace::finish)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Every space in use, once.
    fn living(&self) -> Vec<(u64, String, Arc<Space<User>>)> {
        let Some(kernel) = self.kernel.get().and_then(Weak::upgrade) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut spaces = Vec::new();
        for (pid, node) in kernel.tree().nodes() {
            let Some(task) = node.process.any_task() else {
                continue;
            };
            let Some(space) = task.space() else { continue };
            if seen.insert(Arc::as_ptr(&space)) {
                spaces.push((pid.raw() as u64, name_of(&task), space));
            }
        }
        spaces
    }

    fn sample(&self) {
        let mut resident = Resident::default();
        for (_, _, space) in self.living() {
            let now = kib(space.count().rss);
            resident.anon += now.anon;
            resident.file += now.file;
            resident.shmem += now.shmem;
        }
        let moment = Moment {
            ms: self.elapsed().as_millis() as u64,
            resident,
            faults: self.faults.load(Ordering::Relaxed),
        };
        self.timeline
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .push(moment);
    }

    /// Keeps what a space counted.
    fn remember(&self, pid: u64, name: &str, space: &Space<User>) {
        let counted = space.count();
        let mut past = self.past();
        past.faults = past.faults.plus(&counted.faults);
        if past.images.len() == IMAGES {
            past.left_out += 1;
            return;
        }
        drop(past);
        let image = image(pid, name, space, &counted);
        self.past().images.push(image);
    }
}

impl Observer<User> for Recorder {
    fn watches_calls(&self) -> bool {
        self.trace.is_some()
    }

    fn call_begins(&self, task: &Task<User>, nr: u64, args: [u64; 6]) {
        if let Some(trace) = &self.trace {
            trace.call_begins(task, nr, args);
        }
    }

    fn call_ends(&self, task: &Task<User>, nr: u64, args: [u64; 6], result: CallResult) {
        if let Some(trace) = &self.trace {
            trace.call_ends(self.elapsed(), task, nr, args, result);
        }
    }

    fn fault(&self, task: &Task<User>, addr: VirtAddr, access: Access, result: Result<Resolved, FaultError>) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if let Some(trace) = &self.trace {
            trace.fault(self.elapsed(), task, addr, access, result);
        }
    }

    fn space_ends(&self, task: &Task<User>, space: &Space<User>) {
        let (pid, name) = (task.process().id().raw() as u64, name_of(task));
        self.remember(pid, &name, space);
        self.show_owners(Some(pid));
        if self.looks_at_ends() {
            self.show(pid, &name, space);
        }
    }
}

/// Looks at the tables of all processes once, while they run.
fn look_after(delay: Duration, recorder: &Weak<Recorder>) {
    std::thread::sleep(delay);
    let Some(recorder) = recorder.upgrade() else {
        return;
    };
    for (pid, name, space) in recorder.living() {
        recorder.show(pid, &name, &space);
    }
}

/// Samples until the recorder is gone.
fn sample_while_it_lives(recorder: &Weak<Recorder>) {
    let mut interval = INTERVAL;
    while let Some(living) = recorder.upgrade() {
        living.sample();
        {
            let mut timeline = living
                .timeline
                .lock()
                .unwrap_or_else(|poison| poison.into_inner());
            if timeline.len() >= MOMENTS {
                let mut keep = false;
                timeline.retain(|_| {
                    keep = !keep;
                    keep
                });
                interval *= 2;
            }
        }
        drop(living);
        std::thread::sleep(interval);
    }
}

/// A task's name, without the zeros.
pub(super) fn name_of(task: &Task<User>) -> String {
    let name = task.name();
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

fn kib(rss: Rss) -> Resident {
    Resident {
        anon: rss.anon * 4,
        file: rss.file * 4,
        shmem: rss.shmem * 4,
    }
}

fn image(pid: u64, name: &str, space: &Space<User>, counted: &CounterSnapshot) -> Process {
    let [pte, pmd, pud, p4d] = counted.tables;
    let levels = [("PTE", pte), ("PMD", pmd), ("PUD", pud), ("P4D", p4d)];
    Process {
        pid,
        name: name.to_owned(),
        peak: kib(counted.peak_by_sort),
        peak_total: counted.peak_rss * 4,
        last: kib(counted.rss),
        minor_faults: counted.minor_faults,
        major_faults: counted.major_faults,
        table_kib: space.table_bytes() / 1024,
        peak_table_kib: counted.peak_tables * 4,
        tables: levels
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| Count::new(*name, *count))
            .collect(),
        areas: areas(space),
        gone: gone(space),
    }
}

/// The mappings there are. Parts of one mapping count their faults together;
/// the first part shows them.
fn areas(space: &Space<User>) -> Vec<Area> {
    let layout = space.layout();
    let mut counted = HashSet::new();
    let mut areas = Vec::new();
    for vma in space.vmas().iter() {
        let entry = vma.maps_entry(&layout);
        let first = counted.insert(Arc::as_ptr(&vma.faults));
        let prot = entry.perms.prot;
        let letter = |right, letter| if prot.contains(right) { letter } else { '-' };
        areas.push(Area {
            start: entry.range.start.raw(),
            end: entry.range.end.raw(),
            perms: [
                letter(foliant_uapi::Prot::READ, 'r'),
                letter(foliant_uapi::Prot::WRITE, 'w'),
                letter(foliant_uapi::Prot::EXEC, 'x'),
                if entry.perms.shared { 's' } else { 'p' },
            ]
            .iter()
            .collect(),
            name: String::from_utf8_lossy(&entry.name).into_owned(),
            resident: space.residency(vma).rss / 1024,
            faults: if first {
                by_kind(&vma.faults.tally())
            } else {
                Vec::new()
            },
        });
    }
    areas
}

/// Faults of mappings that are gone, by what they mapped.
fn gone(space: &Space<User>) -> Vec<Area> {
    let history = space.history();
    let mut gone = Vec::new();
    if history.anonymous.total() > 0 {
        gone.push(Area {
            name: "anonymous memory".into(),
            faults: by_kind(&history.anonymous),
            ..Area::default()
        });
    }
    for (name, tally) in history.files() {
        gone.push(Area {
            name: name.into(),
            faults: by_kind(tally),
            ..Area::default()
        });
    }
    gone
}

/// The kinds of fault that happened, and how often.
pub(super) fn by_kind(tally: &FaultTally) -> Vec<Count> {
    let resolved = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.name(), tally.of(*outcome)));
    let all = resolved.chain([("refused", tally.refused)]);
    all.filter(|(_, count)| *count > 0)
        .map(|(name, count)| Count::new(name, count))
        .collect()
}
