//! A machine over RAM on the heap.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::ptr::NonNull;
use std::sync::OnceLock;

use foliant_kvirt::KernelMemory;
use foliant_mm::Env;
use foliant_phys::{BootOptions, MemoryMap, Phys};
use foliant_platform::testing::{TestContext, TestPlatform};
use foliant_platform::{CpuId, Flush, FourLevels, Mmu, Nanos, Platform};
use foliant_uapi::text::Iomem;
use foliant_units::{Errno, PhysAddr, PhysRange};

use super::host::Host;
use super::registers::Registers;
use crate::park::Sleeper;
use crate::{
    CpuTimes, Hardware, Identity, Kernel, OomReport, ProgramEvent, Settings, Space, Start, Task, UserMachine,
    UserRegs, XFormat,
};

/// A machine of two CPUs whose user mode is what its host makes of it. A cheap
/// handle.
pub struct TestMachine<H: Host> {
    platform: TestPlatform<false>,
    shared: Arc<Shared<H>>,
}

struct Shared<H: Host> {
    host: H,
    kernel: OnceLock<Weak<Kernel<TestMachine<H>>>>,
}

impl<H: Host> Clone for TestMachine<H> {
    fn clone(&self) -> Self {
        Self {
            platform: self.platform.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<H: Host> TestMachine<H> {
    /// Boots a machine with this many bytes of RAM, and nothing running.
    ///
    /// # Panics
    /// If that is not enough for its tables.
    pub fn boot(host: H, ram: usize, iomem: Iomem) -> Arc<Kernel<Self>> {
        let machine = Self {
            platform: TestPlatform::new(ram, 2),
            shared: Arc::new(Shared {
                host,
                kernel: OnceLock::new(),
            }),
        };
        let map = MemoryMap::ram(machine.platform.memory());
        let phys = Phys::boot(machine.clone(), &map, BootOptions::test());
        let phys = phys.unwrap_or_else(|why| panic!("{ram} bytes are not enough: {why}"));
        let env = Env::new(Arc::new(phys)).unwrap_or_else(|why| panic!("no frame is free: {why:?}"));
        let kernel = Kernel::new(machine.clone(), env, settings(iomem));
        let _once = machine.shared.kernel.set(Arc::downgrade(&kernel));
        kernel
    }

    /// Who decides what this machine does.
    pub fn host(&self) -> &H {
        &self.shared.host
    }

    /// What runs on it, while it does.
    pub fn kernel(&self) -> Option<Arc<Kernel<Self>>> {
        self.shared.kernel.get().and_then(Weak::upgrade)
    }
}

fn settings(iomem: Iomem) -> Settings {
    Settings {
        identity: Identity {
            node: "test".into(),
            release: "6.18.0".into(),
            version: "#1".into(),
            domain: "(none)".into(),
        },
        randomize: false,
        seed: 0,
        hardware: Hardware {
            hwcap: 0,
            hwcap2: 0,
            min_signal_stack: 2048,
        },
        vdso: true,
        max_tasks: 100,
        iomem,
        hotplug: PhysRange::default(),
    }
}

// SAFETY: all of it is the test platform's; clocks promise nothing about memory.
unsafe impl<H: Host> Platform for TestMachine<H> {
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
        self.host().now(self.platform.now())
    }
}

// SAFETY: programs reach memory through the tables alone: nothing is cached.
unsafe impl<H: Host> Mmu for TestMachine<H> {
    type Context = TestContext;
    type Levels = FourLevels;

    fn context(&self, root: PhysAddr) -> Result<TestContext, Errno> {
        self.platform.context(root)
    }

    fn flush(&self, _context: &TestContext, _what: Flush<'_>) {}
}

impl<H: Host> UserMachine for TestMachine<H> {
    type Cpu = Registers;
    type Thread = H::Thread;

    fn sleeper(&self) -> Arc<dyn Sleeper> {
        H::sleeper(self)
    }

    fn thread(&self) -> Result<H::Thread, Errno> {
        Ok(H::Thread::default())
    }

    fn start(&self, start: Start<'_, Self>) -> Result<(), Errno> {
        H::start(self, start)
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

    fn kick(&self, task: &Task<Self>) {
        self.host().kick(task.thread());
    }

    fn alarm(&self, at: Option<Nanos>) {
        self.host().alarm(at);
    }

    fn background(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        self.host().background(work)
    }

    fn realtime(&self) -> Nanos {
        self.host().realtime()
    }

    fn kernel_memory(&self) -> KernelMemory {
        self.host().kernel_memory()
    }

    fn cpu_times(&self, _thread: &H::Thread) -> CpuTimes {
        CpuTimes::default()
    }

    fn random(&self, out: &mut [u8]) {
        out.fill(4);
    }

    fn out_of_memory(&self, _report: OomReport) {}

    fn program_event(&self, event: ProgramEvent) {
        self.host().program_event(event);
    }

    fn xformat(&self) -> XFormat {
        Registers::FORMAT
    }
}
