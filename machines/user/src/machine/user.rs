//! The machine as a value.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use foliant_kernel::{Kernel, UserMachine};
use foliant_platform::{CpuId, Flush, Mmu, Nanos, Platform};
use foliant_units::{Errno, PhysAddr, PhysRange};

use super::backing::Backing;
use super::cpu::Cpu;
use super::errands::{Errands, Log};
use super::events::{Events, MachineEvent};
use super::launch::UserThread;
use super::pool::Pool;
use super::registry::Registry;
use super::sleeper::{Alarm, Bed};
use super::space::{Context, SpaceState, kick};
use super::{clock, reaper};
use crate::host::{self, HostError, StartError, Stubs};

/// A handle to a machine; cheap to clone.
#[derive(Clone)]
pub struct User(pub(super) Arc<Machine>);

/// What a machine owns.
pub(super) struct Machine {
    ram: Ram,
    cpus: u32,
    stubs: Stubs,
    pool: Pool,
    registry: Registry,
    alarm: Alarm,
    backing: Backing,
    counters: Counters,
    run_limit: usize,
    kernel: OnceLock<Weak<Kernel<User>>>,
    events: Events,
    counts_time: bool,
    errands: Errands,
}

/// RAM: one file, mapped whole.
struct Ram {
    base: NonNull<u8>,
    size: u64,
    _file: OwnedFd,
}

// SAFETY: the mapping lives as long as the value; who touches its bytes, and
// how, is the business of those who own the frames.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no machine is left to use it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size as usize) };
    }
}

/// What the machine counts for the report.
#[derive(Debug, Default)]
pub struct Counters {
    /// Host mappings made for TLB misses.
    pub fills: AtomicU64,
    /// Pages in them.
    pub filled_pages: AtomicU64,
    /// Flushes that took host mappings away.
    pub flushes: AtomicU64,
    /// Threads that had to be stopped for a flush.
    pub shoot_downs: AtomicU64,
    /// Guest processes that the host killed, mostly by the filter.
    pub killed: AtomicU64,
}

impl User {
    /// Makes a machine with `ram` bytes of RAM, a multiple of the page size,
    /// and `cpus` CPUs, whose processes have `mappings` host mappings at most
    /// if that is less than what the host allows. The calling thread must live as long as the machine:
    /// the host kills the guests with it.
    ///
    /// # Errors
    /// What the host lacks.
    pub fn new(ram: u64, cpus: u32, mappings: Option<usize>) -> Result<Self, StartError> {
        let file = host::memfd(c"foliant-ram", ram, 0)?;
        // First the zygote, then the mapping: forks stay small.
        let stubs = Stubs::start(&file)?;
        let base = host::map_shared(&file, ram as usize)?;
        let machine = Self(Arc::new(Machine {
            ram: Ram {
                base,
                size: ram,
                _file: file,
            },
            cpus: cpus.max(1),
            stubs,
            pool: Pool::new(),
            registry: Registry::new(),
            alarm: Alarm::new(),
            backing: Backing::new(ram),
            counters: Counters::default(),
            run_limit: run_limit(mappings),
            kernel: OnceLock::new(),
            events: Events::default(),
            counts_time: clock::counter_is_time(),
            errands: Errands::default(),
        }));
        machine.serve("foliant-alarm", Alarm::serve)?;
        machine.serve("foliant-reaper", reaper::serve)?;
        machine.serve("foliant-backing", Backing::serve)?;
        Ok(machine)
    }

    /// Gives the machine a thread.
    fn serve(&self, name: &str, serve: fn(&Self)) -> Result<(), HostError> {
        let machine = self.clone();
        let spawned = thread::Builder::new()
            .name(name.into())
            .spawn(move || serve(&machine));
        let failed = |error: std::io::Error| HostError {
            call: "clone",
            errno: error.raw_os_error().unwrap_or(0),
        };
        spawned.map(drop).map_err(failed)
    }

    /// Says whose traps these are. Once, before the first task starts.
    pub fn attach(&self, kernel: &Arc<Kernel<Self>>) {
        // A second kernel would never hear of its tasks; the first one stays.
        let _ = self.0.kernel.set(Arc::downgrade(kernel));
    }

    /// Has it known from now on who allocates frames, and gives the log for those
    /// who ask.
    pub(crate) fn watch_owners(&self) -> Log {
        self.0.errands.keep();
        Log(self.downgrade())
    }

    pub(super) fn errands(&self) -> &Errands {
        &self.0.errands
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Ends all guests and the machine's threads.
    pub fn close(&self) {
        self.0.pool.close();
        self.0.alarm.close();
        self.0.backing.close();
        self.0.stubs.end();
    }

    /// Waits for the next news.
    pub fn next_event(&self) -> MachineEvent {
        self.0.events.next()
    }

    pub(super) fn fail(&self, error: HostError) {
        self.close();
        self.tell(MachineEvent::Failed(error));
    }

    /// Tells whoever runs the machine.
    pub(super) fn tell(&self, event: MachineEvent) {
        self.0.events.post(event);
    }

    pub(super) fn stubs(&self) -> &Stubs {
        &self.0.stubs
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(super) fn lanes(&self) -> &Registry {
        &self.0.registry
    }

    pub(super) fn alarm_clock(&self) -> &Alarm {
        &self.0.alarm
    }

    pub(super) fn kernel(&self) -> Option<Arc<Kernel<Self>>> {
        self.0.kernel.get()?.upgrade()
    }

    pub(super) fn backing(&self) -> &Backing {
        &self.0.backing
    }

    pub(crate) fn ram_size(&self) -> u64 {
        self.0.ram.size
    }

    pub(super) fn run_limit(&self) -> usize {
        self.0.run_limit
    }

    pub(super) fn downgrade(&self) -> Weak<Machine> {
        Arc::downgrade(&self.0)
    }
}

/// Host mappings that one process may have, with room for the stub's own.
fn run_limit(wanted: Option<usize>) -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    text.trim()
        .parse()
        .unwrap_or(65_530_usize)
        .saturating_sub(500)
        .min(wanted.unwrap_or(usize::MAX))
        .max(100)
}

// SAFETY:
// 1. RAM is one mapping that lives as long as the machine, and consecutive.
// 2. `CPU_IS_EXCLUSIVE` is false.
unsafe impl Platform for User {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        debug_assert!(at.raw() < self.0.ram.size, "inside RAM");
        // SAFETY: the address is inside RAM, which the caller promises.
        unsafe { self.0.ram.base.add(at.raw() as usize) }
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        range.end.raw() <= self.0.ram.size
    }

    fn cpu(&self) -> CpuId {
        // SAFETY: no memory is involved.
        let cpu = unsafe { libc::sched_getcpu() };
        CpuId(u32::try_from(cpu).unwrap_or(0) % self.0.cpus)
    }

    fn cpus(&self) -> u32 {
        self.0.cpus
    }

    fn now(&self) -> Nanos {
        clock::monotonic()
    }
}

// SAFETY: `flush` removes the ranges from the book of what the host shows and
// has every thread of the space that may run guest code come in; all of them
// remove the mappings before they run guest code again.
unsafe impl Mmu for User {
    type Context = Context;
    type Levels = foliant_platform::FourLevels;

    fn context(&self, root: PhysAddr) -> Result<Context, Errno> {
        Ok(Context(SpaceState::new(root)))
    }

    fn flush(&self, context: &Context, what: Flush<'_>) {
        context.0.flush(self, what);
    }
}

impl UserMachine for User {
    type Cpu = Cpu;
    type Thread = UserThread;

    fn sleeper(&self) -> Arc<dyn foliant_kernel::park::Sleeper> {
        Bed::new(self)
    }

    fn thread(&self) -> Result<UserThread, Errno> {
        UserThread::new(self)
    }

    fn start(&self, start: foliant_kernel::Start<'_, Self>) -> Result<(), Errno> {
        self.start_task(start)
    }

    fn exec(
        &self,
        task: &Arc<foliant_kernel::Task<Self>>,
        cpu: &mut Cpu,
        space: &Arc<foliant_kernel::Space<Self>>,
        regs: foliant_kernel::UserRegs,
    ) -> Result<(), Errno> {
        self.exec_task(task, cpu, space, regs)
    }

    fn kick(&self, task: &foliant_kernel::Task<Self>) {
        let lane = task.thread().lane();
        lane.kicked.store(true, std::sync::atomic::Ordering::SeqCst);
        if lane.state() == super::lane::State::Running {
            kick(&lane);
        }
    }

    fn alarm(&self, at: Option<Nanos>) {
        self.0.alarm.set(at);
    }

    fn background(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        let builder = thread::Builder::new().name("foliant-compact".into());
        builder.spawn(work).is_ok()
    }

    fn realtime(&self) -> Nanos {
        clock::realtime()
    }

    fn reserved(&self) -> foliant_units::VirtRange {
        use foliant_units::VirtAddr;
        foliant_units::VirtRange::new(VirtAddr::new(host::STUB_BASE), VirtAddr::new(host::AREA_END))
    }

    fn clock_sample(&self) -> Option<foliant_kernel::ClockSample> {
        self.0.counts_time.then(clock::sample)
    }

    fn cpu_times(&self, thread: &UserThread) -> foliant_kernel::CpuTimes {
        thread.times()
    }

    fn random(&self, out: &mut [u8]) {
        if host::random(out).is_err() {
            // A host without randomness gives what its clock has.
            for byte in out {
                *byte = (clock::monotonic().0 >> 3) as u8;
            }
        }
    }

    fn out_of_memory(&self, report: foliant_kernel::OomReport) {
        self.0.events.post(MachineEvent::OutOfMemory(report));
    }

    fn program_event(&self, event: foliant_kernel::ProgramEvent) {
        self.0.events.post(MachineEvent::Program(event));
    }

    fn xformat(&self) -> foliant_kernel::XFormat {
        let (size, features) = self.0.stubs.frames().xformat();
        foliant_kernel::XFormat { features, size }
    }
}
