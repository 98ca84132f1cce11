//! The machine and its handle.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, Weak};

use foliant_arch::tlb::{TlbConfig, TlbStats};
use foliant_arch::x86_64::Control;
use foliant_phys::boot::Memblock;
use foliant_phys::{BootError, BootOptions, MemoryMap, Phys};
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_platform::testing::TestPlatform;
use foliant_platform::{CpuId, Flush, FourLevels, Levels, Mmu, Nanos, Platform};
use foliant_units::{Errno, PhysAddr, PhysRange};

use crate::audit::Violation;
use crate::context::SoftContext;
use crate::cpu::{Cpu, CpuState, Reaction};
use crate::forget::{Forget, Left};
use crate::space::{SpaceState, Tags};

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct SoftConfig {
    /// Bytes of RAM, from physical address zero up.
    pub ram: u64,
    /// CPUs, at least one.
    pub cpus: u32,
    /// The TLB of each.
    pub tlb: TlbConfig,
    /// How many spaces can exist at a time, at most 4096.
    pub tags: usize,
    /// The control registers of all CPUs.
    pub control: Control,
}

impl Default for SoftConfig {
    fn default() -> Self {
        Self {
            ram: 64 << 20,
            cpus: 8,
            tlb: TlbConfig::default(),
            tags: 4096,
            control: Control::default(),
        }
    }
}

/// How flushes went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushStats {
    /// Flushes asked for.
    pub flushes: u64,
    /// Shoot-downs that a CPU obeyed by dropping what was named.
    pub dropped: u64,
    /// Shoot-downs that a CPU obeyed by dropping the whole tag.
    pub caught_up: u64,
    /// CPUs that were spared because they did not run the space.
    pub deferred: u64,
    /// Flushes that were forgotten on purpose, in whole or in part.
    pub forgotten: u64,
    /// Of those that were forgotten in whole, how many some CPU needed.
    pub needed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    flushes: AtomicU64,
    dropped: AtomicU64,
    caught_up: AtomicU64,
    deferred: AtomicU64,
    forgotten: AtomicU64,
    needed: AtomicU64,
}

/// A machine; a cheap handle to it.
#[derive(Clone, Debug)]
pub struct SoftMachineOf<L: Levels>(Arc<Inner<L>>);

/// A machine with four levels of tables.
pub type SoftMachine = SoftMachineOf<FourLevels>;

#[derive(Debug)]
struct Inner<L: Levels> {
    /// RAM, and CPUs as far as the memory manager sees them.
    base: TestPlatform<true>,
    cpus: Box<[Mutex<CpuState<L>>]>,
    tags: Mutex<Tags>,
    control: Control,
    /// The kernel's own tables, if it has any.
    kernel: Mutex<Option<Arc<SpaceState>>>,
    forget: SpinLock<Forget>,
    counts: Counts,
    /// Whose frame records tell freed frames from used ones.
    phys: OnceLock<Weak<Phys<SoftMachineOf<L>>>>,
    violations: Mutex<Vec<Violation>>,
}

impl<L: Levels> SoftMachineOf<L> {
    /// A machine that has not booted.
    pub fn new(config: SoftConfig) -> Self {
        Self::try_new(config).unwrap_or_else(|why| panic!("no machine of this size: {why}"))
    }

    /// A machine that has not booted, of any size: RAM costs the host only what
    /// is touched of it.
    ///
    /// # Errors
    /// The host has not so many addresses.
    pub fn try_new(config: SoftConfig) -> Result<Self, Errno> {
        let base = crate::ram::machine(config.ram, config.cpus).map_err(|_| Errno::NOMEM)?;
        let tags = Tags::new(config.tags);
        let cpu = |_| Mutex::new(CpuState::new(config.tlb, tags.len()));
        Ok(Self(Arc::new(Inner {
            cpus: (0..base.cpus()).map(cpu).collect(),
            base,
            tags: Mutex::new(tags),
            control: config.control,
            kernel: Mutex::new(None),
            forget: SpinLock::new(Forget::Nothing),
            counts: Counts::default(),
            phys: OnceLock::new(),
            violations: Mutex::new(Vec::new()),
        })))
    }

    /// Boots physical memory on all of RAM.
    ///
    /// # Errors
    /// RAM is too small for the tables that describe it.
    pub fn boot(&self, options: BootOptions) -> Result<Arc<Phys<Self>>, BootError> {
        self.boot_map(&MemoryMap::ram(self.ram_range()), options)
    }

    /// Boots physical memory on the RAM of a map, all of which must lie inside
    /// the machine's.
    ///
    /// # Errors
    /// [`BootError`] says what is wrong with the map.
    pub fn boot_map<const N: usize>(
        &self,
        map: &MemoryMap<N>,
        options: BootOptions,
    ) -> Result<Arc<Phys<Self>>, BootError> {
        let memblock = Memblock::from_map(self, map)?;
        self.take_over(memblock, options)
    }

    /// As [`boot_map`](Self::boot_map), after an early boot of the caller's,
    /// which leaves RAM as clean as it was outside of what it reserved.
    ///
    /// # Errors
    /// As above, and [`BootError::NotThisRam`] where memblock has memory that
    /// the machine does not have.
    pub fn take_over(
        &self,
        memblock: Memblock<Self>,
        options: BootOptions,
    ) -> Result<Arc<Phys<Self>>, BootError> {
        let options = BootOptions {
            ram_is_zeroed: true,
            ..options
        };
        let phys = Arc::new(Phys::take_over(self.clone(), memblock, options)?);
        // A second boot on the same RAM would be a bug; the first is watched.
        let _ = self.0.phys.set(Arc::downgrade(&phys));
        Ok(phys)
    }

    /// Lets `cpus` CPUs run `program` at the same time, and waits for them.
    pub fn run<R: Send>(&self, cpus: u32, program: impl Fn(&mut Cpu<'_, L>) -> R + Sync) -> Vec<R> {
        let play = |id: u32| {
            self.0
                .base
                .on_cpu(CpuId(id), || program(&mut Cpu::new(self, CpuId(id))))
        };
        let play = &play;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cpus.min(self.cpus()))
                .map(|id| scope.spawn(move || play(id)))
                .collect();
            let results = threads.into_iter().map(|thread| thread.join());
            results
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    /// Runs `program` on one CPU, on the calling thread.
    pub fn run_on<R>(&self, id: CpuId, program: impl FnOnce(&mut Cpu<'_, L>) -> R) -> R {
        self.0.base.on_cpu(id, || program(&mut Cpu::new(self, id)))
    }

    /// Loses flushes from now on.
    pub fn forget(&self, what: Forget) {
        *self.0.forget.lock() = what;
    }

    /// How flushes went so far.
    pub fn flush_stats(&self) -> FlushStats {
        let counts = &self.0.counts;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FlushStats {
            flushes: get(&counts.flushes),
            dropped: get(&counts.dropped),
            caught_up: get(&counts.caught_up),
            deferred: get(&counts.deferred),
            forgotten: get(&counts.forgotten),
            needed: get(&counts.needed),
        }
    }

    /// What the TLB of a CPU did so far.
    pub fn tlb_stats(&self, id: CpuId) -> TlbStats {
        self.cpu_state(id).lock().tlb().stats()
    }

    pub(crate) fn control(&self) -> Control {
        self.0.control
    }

    pub(crate) fn ram_range(&self) -> PhysRange {
        self.0.base.memory()
    }

    pub(crate) fn cpu_state(&self, id: CpuId) -> &Mutex<CpuState<L>> {
        &self.0.cpus[id.index()]
    }

    pub(crate) fn cpu_states(&self) -> &[Mutex<CpuState<L>>] {
        &self.0.cpus
    }

    pub(crate) fn tags(&self) -> &Mutex<Tags> {
        &self.0.tags
    }

    pub(crate) fn give_tag_back(&self, tag: foliant_arch::tlb::Pcid) {
        self.0.tags.lock().give_back(tag);
    }

    pub(crate) fn phys(&self) -> Option<Arc<Phys<Self>>> {
        self.0.phys.get()?.upgrade()
    }

    pub(crate) fn violations_list(&self) -> &Mutex<Vec<Violation>> {
        &self.0.violations
    }

    /// The kernel's own tables, while there are any.
    pub(crate) fn kernel(&self) -> Option<Arc<SpaceState>> {
        self.0.kernel.lock().clone()
    }

    pub(crate) fn forget_kernel(&self, space: &Arc<SpaceState>) {
        let mut kernel = self.0.kernel.lock();
        if kernel.as_ref().is_some_and(|kernel| Arc::ptr_eq(kernel, space)) {
            *kernel = None;
        }
        drop(kernel);
        for cpu in &self.0.cpus {
            cpu.lock().forget_kernel();
        }
    }

    /// The shoot-down proper.
    fn shoot_down(&self, context: &SoftContext<L>, what: Flush<'_>) {
        if context.is_kernel() {
            // No CPU is spared: all of them run the kernel, lazily or not.
            for cpu in &self.0.cpus {
                cpu.lock().shoot_down_kernel(what);
                self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let space = context.space();
        let counts = &self.0.counts;
        let generation = space.next_generation();
        for cpu in &self.0.cpus {
            let count = match cpu.lock().shoot_down(space, generation, what) {
                Reaction::Dropped => &counts.dropped,
                Reaction::CaughtUp => &counts.caught_up,
                Reaction::Deferred => &counts.deferred,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: both are the test platform's promises, whose RAM, CPU numbers and
// preemption these are.
unsafe impl<L: Levels> Platform for SoftMachineOf<L> {
    const CPU_IS_EXCLUSIVE: bool = true;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        self.0.base.ram(at)
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        self.0.base.has_ram(range)
    }

    fn cpu(&self) -> CpuId {
        self.0.base.cpu()
    }

    fn cpus(&self) -> u32 {
        self.0.base.cpus()
    }

    fn preempt_off(&self) {
        self.0.base.preempt_off();
    }

    fn preempt_on(&self) {
        self.0.base.preempt_on();
    }

    fn now(&self) -> Nanos {
        self.0.base.now()
    }
}

// SAFETY: translations are used under the CPU's lock only, and `flush` takes
// the lock of every CPU: one that runs the space drops the entries, one that
// does not drops them before it uses any again. (`Forget` breaks this on
// purpose; the memory that then goes wrong is the machine's, not the process's.)
unsafe impl<L: Levels> Mmu for SoftMachineOf<L> {
    type Context = SoftContext<L>;
    type Levels = L;

    fn context(&self, root: PhysAddr) -> Result<SoftContext<L>, Errno> {
        let space = self.0.tags.lock().take(root).ok_or(Errno::AGAIN)?;
        Ok(SoftContext::new(self.clone(), space, false))
    }

    fn kernel_context(&self, root: PhysAddr) -> Result<SoftContext<L>, Errno> {
        let mut kernel = self.0.kernel.lock();
        if kernel.is_some() {
            return Err(Errno::BUSY);
        }
        let space = self.0.tags.lock().take(root).ok_or(Errno::AGAIN)?;
        *kernel = Some(space.clone());
        Ok(SoftContext::new(self.clone(), space, true))
    }

    fn flush_local(&self, context: &SoftContext<L>, what: Flush<'_>) {
        if !context.is_kernel() {
            return self.flush(context, what);
        }
        self.0.counts.flushes.fetch_add(1, Ordering::Relaxed);
        self.cpu_state(self.cpu()).lock().shoot_down_kernel(what);
        self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self, context: &SoftContext<L>, what: Flush<'_>) {
        self.0.counts.flushes.fetch_add(1, Ordering::Relaxed);
        let left = self.0.forget.lock().act(&what);
        if left != Left::All {
            self.0.counts.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        match left {
            Left::All => self.shoot_down(context, what),
            Left::Nothing if self.is_needed(context, what) => {
                self.0.counts.needed.fetch_add(1, Ordering::Relaxed);
            }
            Left::Nothing => {}
            Left::WithoutTables => self.shoot_down(
                context,
                Flush {
                    tables_freed: false,
                    ..what
                },
            ),
            Left::FirstRange => {
                let first = what.ranges.len().min(1);
                self.shoot_down(
                    context,
                    Flush {
                        ranges: &what.ranges[..first],
                        ..what
                    },
                );
            }
        }
    }
}
