//! What a machine must be able to do to run programs.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::space::Space;
use foliant_kvirt::KernelMemory;
use foliant_platform::{Mmu, Nanos};
use foliant_uapi::clone::WaitStatus;
use foliant_uapi::signal::Signal;
use foliant_units::{Errno, VirtAddr, VirtRange};

use crate::park::Sleeper;
use crate::pid::Pid;
use crate::task::Task;
use crate::vdso::ClockSample;

/// A machine whose CPUs run user code and come back with traps.
pub trait UserMachine: Mmu {
    /// The registers of a task that is in the kernel.
    type Cpu: UserCpu;

    /// What the machine keeps per task; made before the task is.
    type Thread: Send + Sync + 'static;

    /// A sleeping place for one task.
    fn sleeper(&self) -> Arc<dyn Sleeper>;

    /// The machine's part of a task that is about to be made.
    ///
    /// # Errors
    /// `AGAIN` where the machine has no room for another task.
    fn thread(&self) -> Result<Self::Thread, Errno>;

    /// Lets a new task enter user mode; its first trap may arrive before this
    /// returns.
    ///
    /// # Errors
    /// `AGAIN` or `NOMEM`; the task has not run then and never will.
    fn start(&self, start: Start<'_, Self>) -> Result<(), Errno>;

    /// Moves the task behind `cpu` into `space` with `regs`, its extended state
    /// as after reset. Called on the way out of an `execve` that can no longer
    /// fail; `task.space()` is `space` already.
    ///
    /// # Errors
    /// The task is killed.
    fn exec(
        &self,
        task: &Arc<Task<Self>>,
        cpu: &mut Self::Cpu,
        space: &Arc<Space<Self>>,
        regs: UserRegs,
    ) -> Result<(), Errno>;

    /// Makes a task that is in user mode trap soon ([`Trap::Kicked`] or any
    /// other). Sticky: if the task is in the kernel, or on its way to user
    /// mode, it traps at once on arrival. May be spurious; must not block.
    fn kick(&self, task: &Task<Self>);

    /// Asks for a call of [`Kernel::tick`](crate::Kernel::tick) at `at`, in the
    /// time of [`Platform::now`](foliant_platform::Platform::now), on some
    /// thread; `None` takes the request back. The latest request counts.
    fn alarm(&self, at: Option<Nanos>);

    /// Runs `work` on a thread of its own; false where the machine has none to
    /// spare, and the work is not done. Called with any lock held.
    fn background(&self, _work: Box<dyn FnOnce() + Send>) -> bool {
        false
    }

    /// Nanoseconds since 1970, UTC.
    fn realtime(&self) -> Nanos;

    /// Addresses of every space that the machine keeps for itself, and that no
    /// program can map. What programs notice of it is `NOMEM` for a fixed address.
    fn reserved(&self) -> VirtRange {
        VirtRange::default()
    }

    /// What the kernel itself takes of the machine's memory; nothing where its
    /// objects, stacks and per-CPU variables lie elsewhere, as on a machine that
    /// is a program of another kernel.
    fn kernel_memory(&self) -> KernelMemory {
        KernelMemory::default()
    }

    /// The clocks together with the counter that user code reads with RDTSC;
    /// `None` where that is not one counter of constant rate.
    fn clock_sample(&self) -> Option<ClockSample> {
        None
    }

    /// CPU time that a task has used.
    fn cpu_times(&self, thread: &Self::Thread) -> CpuTimes;

    /// Fills `out` with bytes fit for keys.
    fn random(&self, out: &mut [u8]);

    /// No frame could be had, and a process is killed for it: to be told to
    /// whoever runs the machine. Must not block.
    fn out_of_memory(&self, report: OomReport);

    /// The program that the machine was asked to run (the first process) has
    /// stopped, goes on, or has ended. Must not block.
    fn program_event(&self, event: ProgramEvent);

    /// The format of the extended state that [`UserCpu::xstate`] shows.
    fn xformat(&self) -> XFormat;
}

/// A task's registers while it is in the kernel.
pub trait UserCpu {
    /// The value that the system call returns (RAX). Cheap: where nothing else
    /// of the registers was asked for, they need not be fetched.
    fn set_result(&mut self, value: u64);

    /// All registers. May cost a round trip the first time after a trap.
    /// After [`set_result`](UserCpu::set_result), `rax` is that value; after a
    /// system call `rip` is behind the instruction. Changes hold when the task
    /// resumes.
    fn regs(&mut self) -> &mut UserRegs;

    /// The x87, SSE and further state as an XSAVE image in standard format,
    /// [`XFormat::size`] bytes. Changes hold when the task resumes.
    fn xstate(&mut self) -> &mut [u8];
}

/// The general registers of x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "they are the processor's names")]
pub struct UserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// The shape of a machine's XSAVE images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XFormat {
    /// The feature bits (XCR0) that user code may use; 3 (x87 and SSE) at least.
    pub features: u64,
    /// Bytes of an image in standard format, 576 at least; a bare FXSAVE image
    /// (512 bytes) if the machine has no XSAVE.
    pub size: usize,
}

/// CPU time, split by mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTimes {
    /// In user mode.
    pub user: Nanos,
    /// In the kernel on the task's behalf.
    pub system: Nanos,
}

/// A task that is to enter user mode for the first time.
pub struct Start<'a, M: UserMachine> {
    /// The task; its space is `task.space()`.
    pub task: &'a Arc<Task<M>>,
    /// Where it comes from.
    pub origin: Origin<'a, M>,
    /// Its registers.
    pub regs: UserRegs,
}

/// Who is killed because memory has run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OomReport {
    /// The process.
    pub pid: Pid,
    /// Its name, padded with zeros.
    pub name: [u8; 16],
    /// Frames and tables it has.
    pub resident_pages: u64,
}

/// What happened to the first process of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramEvent {
    /// Job control stopped it.
    Stopped(Signal),
    /// It goes on.
    Continued,
    /// It has ended; others may still run.
    Ended(WaitStatus),
}

/// Where a new task's extended state, and perhaps cached translations, come from.
pub enum Origin<'a, M: UserMachine> {
    /// Nowhere: the first task of a machine, with state as after reset.
    Fresh,
    /// A clone in the same space; the state is a copy of the parent's.
    Thread(&'a mut M::Cpu),
    /// A clone in a copy of the parent's space, whose writable private pages
    /// have just been demoted in both; the state is a copy of the parent's.
    Fork(&'a mut M::Cpu),
}

/// Why a task left user mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// A `syscall` instruction.
    Syscall {
        /// RAX.
        nr: u64,
        /// RDI, RSI, RDX, R10, R8, R9.
        args: [u64; 6],
    },
    /// An address that the tables do not permit.
    PageFault {
        /// The faulting byte (CR2).
        addr: VirtAddr,
        /// The processor's error code: bit 0 present, 1 write, 2 user, 4 fetch.
        error_code: u64,
    },
    /// Another exception of the processor.
    Exception {
        /// Its number: 0 divide error, 3 breakpoint, 6 invalid opcode, 13 general protection...
        vector: u8,
        /// Its error code, 0 where it has none.
        error_code: u64,
    },
    /// Nothing of its own: the machine was asked to bring the task in.
    Kicked,
}

/// What becomes of a task after a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// It returns to user mode with its registers.
    Resume,
    /// It has ended; its registers are of no use to anybody.
    Gone,
}
