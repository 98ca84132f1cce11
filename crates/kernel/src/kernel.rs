//! Everything a machine runs.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::Env;
use foliant_platform::Nanos;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_platform::sync::{Mutex, MutexGuard, SpinLock};

use foliant_uapi::text::Iomem;
use foliant_units::{PAGE_SHIFT, PhysRange};

use crate::compact_ahead::Ahead;
use crate::compactor::Compactor;
use crate::fs::MachineFiles;
use crate::futex::Futexes;
use crate::machine::UserMachine;
use crate::observe::Observer;
use crate::pid::Tree;
use crate::shm::Segments;
use crate::syscall::Counts;
use crate::timer::{Expire, TimerId, TimerQueue};
use crate::vdso::Vdso;

/// The programs of one machine and what they share.
pub struct Kernel<M: UserMachine> {
    machine: M,
    memory: Arc<Env<M>>,
    settings: Settings,
    tree: Mutex<Tree<M>>,
    timers: TimerQueue,
    futexes: Futexes,
    counts: Counts,
    files: MachineFiles<M>,
    segments: Segments<M>,
    booted: Nanos,
    vdso: Option<Vdso<M>>,
    observer: Option<Arc<dyn Observer<M>>>,
    seeds: AtomicU64,
    /// From how many frames on `page_owner_stacks` shows an owner.
    pub(crate) owner_threshold: AtomicU64,
    /// Held by whoever compacts behind everybody's back.
    pub(crate) compaction_stopped: Mutex<bool>,
    /// Who compacts each node ahead of need.
    pub(crate) ahead: SpinLock<Vec<Arc<Ahead<M>>>>,
}

/// What is decided before the first program starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `uname` says.
    pub identity: Identity,
    /// Whether address-space layouts are random.
    pub randomize: bool,
    /// Where the randomness of layouts starts.
    pub seed: u64,
    /// What programs are told of the processor.
    pub hardware: Hardware,
    /// Whether programs find a vDSO.
    pub vdso: bool,
    /// How many tasks may live at once.
    pub max_tasks: u64,
    /// What lies where in physical memory.
    pub iomem: Iomem,
    /// Where memory can be added while the machine runs; empty if nowhere.
    pub hotplug: PhysRange,
}

/// What the auxiliary vector tells of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hardware {
    /// `AT_HWCAP`: CPUID leaf 1, EDX.
    pub hwcap: u64,
    /// `AT_HWCAP2`.
    pub hwcap2: u64,
    /// `AT_MINSIGSTKSZ`: bytes of the largest signal frame.
    pub min_signal_stack: u64,
}

/// The texts of `uname`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Node name.
    pub node: String,
    /// Kernel release, such as `6.18.0`.
    pub release: String,
    /// Kernel version: build number and date.
    pub version: String,
    /// NIS domain.
    pub domain: String,
}

/// The machine's memory, for `sysinfo`.
///
/// # Units
/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryTotals {
    /// Usable.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// Shared between processes.
    pub shared: u64,
}

impl<M: UserMachine> Kernel<M> {
    /// A kernel without programs, that nobody watches.
    pub fn new(machine: M, memory: Arc<Env<M>>, settings: Settings) -> Arc<Self> {
        Self::watched(machine, memory, settings, None)
    }

    /// A kernel without programs. What they will do `observer` sees.
    pub fn watched(
        machine: M,
        memory: Arc<Env<M>>,
        settings: Settings,
        observer: Option<Arc<dyn Observer<M>>>,
    ) -> Arc<Self> {
        let booted = machine.now();
        // A machine without three frames to spare does without, too.
        let vdso = settings.vdso.then(|| Vdso::new(&memory).ok()).flatten();
        let kernel = Arc::new(Self {
            machine,
            memory,
            settings,
            booted,
            vdso,
            observer,
            seeds: AtomicU64::new(0),
            owner_threshold: AtomicU64::new(0),
            futexes: Futexes::new(),
            tree: Mutex::new(Tree::new()),
            timers: TimerQueue::new(),
            counts: Counts::new(),
            files: MachineFiles::default(),
            segments: Segments::default(),
            compaction_stopped: Mutex::new(false),
            ahead: SpinLock::new(Vec::new()),
        });
        let compactor = Compactor {
            kernel: Arc::downgrade(&kernel),
        };
        kernel.memory.set_background(Some(Arc::new(compactor)));
        kernel
    }

    /// System V shared memory.
    pub fn segments(&self) -> &Segments<M> {
        &self.segments
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The memory manager.
    pub fn memory(&self) -> &Arc<Env<M>> {
        &self.memory
    }

    /// What was decided at the start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Locks the tasks and their relations.
    pub fn tree(&self) -> MutexGuard<'_, Tree<M>> {
        self.tree.lock()
    }

    /// The vDSO that programs find, if any.
    pub(crate) fn vdso(&self) -> Option<&Vdso<M>> {
        self.vdso.as_ref()
    }

    /// Tells programs the time anew. To be called when one had to ask.
    pub(crate) fn refresh_vdso(&self) {
        if let Some(vdso) = &self.vdso
            && let Some(sample) = self.machine.clock_sample()
        {
            vdso.refresh(sample);
        }
    }

    /// Who watches.
    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer<M>>> {
        self.observer.as_ref()
    }

    /// System calls so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The tree of files and what all files share.
    pub fn files(&self) -> &MachineFiles<M> {
        &self.files
    }

    /// The machine's memory.
    pub fn memory_totals(&self) -> MemoryTotals {
        let stats = self.memory.phys().stats();
        MemoryTotals {
            total: stats.total << PAGE_SHIFT,
            free: stats.free << PAGE_SHIFT,
            shared: 0,
        }
    }

    /// Those who wait on futexes.
    pub(crate) fn futexes(&self) -> &Futexes {
        &self.futexes
    }

    /// Randomness for one more layout.
    pub(crate) fn next_seed(&self) -> u64 {
        let number = self.seeds.fetch_add(1, Ordering::Relaxed);
        self.settings
            .seed
            .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Time since the machine started.
    pub fn uptime(&self) -> Nanos {
        Nanos(self.machine.now().0.saturating_sub(self.booted.0))
    }

    /// Has `what` expire at `at`, in the machine's monotonic time.
    pub fn schedule(&self, at: Nanos, what: Arc<dyn Expire>) -> TimerId {
        let (id, is_first) = self.timers.add(at, what);
        if is_first {
            self.machine.alarm(Some(at));
        }
        id
    }

    /// Takes a deadline back; false if it has passed already. The machine's
    /// alarm stays, and finds nothing due.
    pub fn unschedule(&self, id: TimerId) -> bool {
        self.timers.remove(id)
    }

    /// The machine's alarm went off: whatever is due expires.
    pub fn tick(&self) {
        let now = self.machine.now();
        while let Some(due) = self.timers.take_due(now) {
            due.expire(now);
        }
        self.machine.alarm(self.timers.next());
    }
}
