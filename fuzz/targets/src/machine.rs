//! A machine of one thread whose user mode is the target itself, and whose
//! clock moves only when somebody looks or sleeps.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use foliant_kernel::park::Sleeper;
use foliant_kernel::signal::{SigInfo, Signal};
use foliant_kernel::{
    CpuTimes, Kernel, OomReport, Origin, Process, ProgramEvent, Space, Start, Task, UserCpu, UserMachine,
    UserRegs, XFormat,
};
use foliant_platform::testing::{TestContext, TestPlatform};
use foliant_platform::{CpuId, Flush, Mmu, Nanos, Platform};
use foliant_units::{Errno, PhysAddr, PhysRange};

/// Bytes of RAM.
const RAM: usize = 4 << 20;
/// Bytes of extended state: x87, SSE, AVX.
const XSTATE: usize = 576 + 256;
/// Nanoseconds that pass when somebody looks at the clock.
const LOOK: u64 = 1000;
/// Whoever sleeps more often waits for something that never comes.
const SLEEPS: u64 = 64;

#[derive(Clone)]
pub(crate) struct Machine {
    platform: TestPlatform<false>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    kernel: OnceLock<Weak<Kernel<Machine>>>,
    first: Mutex<Option<UserRegs>>,
    process: Mutex<Weak<Process<Machine>>>,
    alarm: Mutex<Option<Nanos>>,
    clock: AtomicU64,
    sleeps: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            platform: TestPlatform::new(RAM, 2),
            shared: Arc::default(),
        }
    }

    pub(crate) fn memory(&self) -> PhysRange {
        self.platform.memory()
    }

    /// Tells the machine what runs on it.
    pub(crate) fn introduce(&self, kernel: &Arc<Kernel<Self>>) {
        let _once = self.shared.kernel.set(Arc::downgrade(kernel));
    }

    /// Whom to kill if it sleeps for ever.
    pub(crate) fn watch(&self, process: &Arc<Process<Self>>) {
        *lock(&self.shared.process) = Arc::downgrade(process);
    }

    /// The registers that the first task starts with.
    pub(crate) fn first_regs(&self) -> Option<UserRegs> {
        lock(&self.shared.first).take()
    }
}

// SAFETY: all of it is the test platform's.
unsafe impl Platform for Machine {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        self.platform.ram(at)
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        self.platform.has_ram(range)
    }

    fn cpu(&self) -> CpuId {
        self.platform.cpu()
    }

    fn cpus(&self) -> u32 {
        self.platform.cpus()
    }

    fn now(&self) -> Nanos {
        self.shared.now()
    }
}

// SAFETY: programs reach memory through the tables alone: nothing is cached.
unsafe impl Mmu for Machine {
    type Context = TestContext;
    type Levels = foliant_platform::FourLevels;

    fn context(&self, root: PhysAddr) -> Result<TestContext, Errno> {
        self.platform.context(root)
    }

    fn flush(&self, _context: &TestContext, _what: Flush<'_>) {}
}

impl Shared {
    fn now(&self) -> Nanos {
        Nanos(self.clock.fetch_add(LOOK, Ordering::Relaxed))
    }

    /// Lets time pass until `until` or an alarm; where neither is, nobody will
    /// ever wake the sleeper, and it is killed.
    fn sleep(&self, until: Option<Nanos>) {
        let alarm = *lock(&self.alarm);
        let next = match (until, alarm) {
            (Some(until), Some(alarm)) => Some(until.min(alarm)),
            (one, other) => one.or(other),
        };
        let often = self.sleeps.fetch_add(1, Ordering::Relaxed) >= SLEEPS;
        if let Some(next) = next.filter(|_| !often) {
            self.clock.fetch_max(next.0, Ordering::Relaxed);
        } else if let Some(process) = lock(&self.process).upgrade() {
            process.send(SigInfo::kernel(Signal::KILL));
        }
        let due = alarm.is_some_and(|at| at.0 <= self.clock.load(Ordering::Relaxed));
        if due && let Some(kernel) = self.kernel.get().and_then(Weak::upgrade) {
            kernel.tick();
        }
    }
}

struct Bed(Arc<Shared>);

impl Sleeper for Bed {
    fn sleep(&self, until: Option<Nanos>) {
        self.0.sleep(until);
    }

    fn wake(&self) {}

    fn now(&self) -> Nanos {
        self.0.now()
    }
}

#[derive(Clone)]
pub(crate) struct Registers {
    regs: UserRegs,
    xstate: Vec<u8>,
}

impl Registers {
    pub(crate) fn new(regs: UserRegs) -> Self {
        Self {
            regs,
            xstate: vec![0; XSTATE],
        }
    }
}

impl UserCpu for Registers {
    fn set_result(&mut self, value: u64) {
        self.regs.rax = value;
    }

    fn regs(&mut self) -> &mut UserRegs {
        &mut self.regs
    }

    fn xstate(&mut self) -> &mut [u8] {
        &mut self.xstate
    }
}

impl UserMachine for Machine {
    type Cpu = Registers;
    type Thread = ();

    fn sleeper(&self) -> Arc<dyn Sleeper> {
        Arc::new(Bed(self.shared.clone()))
    }

    fn thread(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// There is one thread: a second task finds no room.
    fn start(&self, start: Start<'_, Self>) -> Result<(), Errno> {
        match start.origin {
            Origin::Fresh => {
                *lock(&self.shared.first) = Some(start.regs);
                Ok(())
            }
            Origin::Thread(_) | Origin::Fork(_) => Err(Errno::AGAIN),
        }
    }

    fn exec(
        &self,
        _task: &Arc<Task<Self>>,
        cpu: &mut Registers,
        _space: &Arc<Space<Self>>,
        regs: UserRegs,
    ) -> Result<(), Errno> {
        *cpu = Registers::new(regs);
        Ok(())
    }

    fn kick(&self, _task: &Task<Self>) {}

    fn alarm(&self, at: Option<Nanos>) {
        *lock(&self.shared.alarm) = at;
    }

    fn realtime(&self) -> Nanos {
        Nanos(1_700_000_000_000_000_000 + self.shared.clock.load(Ordering::Relaxed))
    }

    fn cpu_times(&self, _thread: &()) -> CpuTimes {
        CpuTimes::default()
    }

    fn random(&self, out: &mut [u8]) {
        out.fill(4);
    }

    fn out_of_memory(&self, _report: OomReport) {}

    fn program_event(&self, _event: ProgramEvent) {}

    fn xformat(&self) -> XFormat {
        XFormat {
            features: 7,
            size: XSTATE,
        }
    }
}
