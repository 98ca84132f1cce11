//! A machine whose programs are closures that make system calls.

use std::any::Any;
use std::boxed::Box;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::vec::Vec;

use foliant_kvirt::KernelMemory;
use foliant_platform::{Nanos, Platform};
use foliant_uapi::Sysno;
use foliant_uapi::mman::{MapFlags, Prot};
use foliant_units::{Errno, VirtAddr};

use crate::exec::Image;
use crate::fs::TaskFiles;
use crate::park::{Parker, Sleeper};
use crate::pid::{Node, Pid};
use crate::signal::{Actions, TaskSignals};
use crate::task::{Parts, UserWords};
use crate::testing::{Host, Registers, TestMachine};
use crate::*;

/// A program: what a task does in user mode.
pub(super) type Program = Box<dyn FnOnce(&mut User) + Send>;
/// A signal handler.
pub(super) type Handler = Arc<dyn Fn(&mut User, u64) + Send + Sync>;

/// A machine of threads that play programs.
pub(super) type Fake = TestMachine<Threads>;

#[derive(Default)]
pub(super) struct Threads {
    /// What the next clone of each task runs.
    children: Mutex<HashMap<usize, Program>>,
    handlers: Mutex<HashMap<u64, Handler>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    alarm: Mutex<Option<Nanos>>,
    alarm_changed: Condvar,
    stopped: AtomicBool,
    /// What the kernel itself takes of this machine.
    own: Mutex<KernelMemory>,
    pub(super) events: Mutex<Vec<ProgramEvent>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Bed {
    machine: Fake,
    token: Mutex<bool>,
    changed: Condvar,
}

impl Sleeper for Bed {
    fn sleep(&self, until: Option<Nanos>) {
        let mut token = lock(&self.token);
        while !*token {
            let left = until.map(|until| until.0.saturating_sub(self.now().0));
            if left == Some(0) {
                return;
            }
            let longest = Duration::from_nanos(left.unwrap_or(u64::MAX / 4));
            token = self
                .changed
                .wait_timeout(token, longest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *token = false;
    }
    fn wake(&self) {
        *lock(&self.token) = true;
        self.changed.notify_all();
    }
    fn now(&self) -> Nanos {
        self.machine.now()
    }
}

/// The machine's part of a task.
#[derive(Default)]
pub(super) struct FakeThread {
    kicked: AtomicBool,
}

impl Host for Threads {
    type Thread = FakeThread;

    fn realtime(&self) -> Nanos {
        Nanos(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_nanos() as u64),
        )
    }
    fn sleeper(machine: &Fake) -> Arc<dyn Sleeper> {
        Arc::new(Bed {
            machine: machine.clone(),
            token: Mutex::new(false),
            changed: Condvar::new(),
        })
    }
    fn start(machine: &Fake, start: Start<'_, Fake>) -> Result<(), Errno> {
        let mut cpu = Registers::new(start.regs);
        let key = match start.origin {
            Origin::Fresh => 0,
            Origin::Thread(parent) | Origin::Fork(parent) => {
                cpu.xstate.clone_from(&parent.xstate);
                &raw const *parent as usize
            }
        };
        let program = lock(&machine.host().children).remove(&key).ok_or(Errno::AGAIN)?;
        run_task(machine, start.task.clone(), cpu, program);
        Ok(())
    }
    fn kick(&self, thread: &FakeThread) {
        thread.kicked.store(true, Ordering::Release);
    }
    fn alarm(&self, at: Option<Nanos>) {
        *lock(&self.alarm) = at;
        self.alarm_changed.notify_all();
    }
    fn background(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        std::thread::spawn(work);
        true
    }
    fn kernel_memory(&self) -> KernelMemory {
        lock(&self.own).clone()
    }
    fn program_event(&self, event: ProgramEvent) {
        lock(&self.events).push(event);
    }
}

fn run_task(machine: &Fake, task: Arc<Task<Fake>>, cpu: Registers, program: Program) {
    let kernel = machine.kernel().expect("a kernel");
    let mut user = User { kernel, task, cpu };
    let thread = std::thread::spawn(move || {
        let body = AssertUnwindSafe(|| {
            user.cpu.regs.rip = 0x1000;
            program(&mut user);
            user.call(Sysno::EXIT_GROUP, &[0]);
        });
        if let Err(payload) = panic::catch_unwind(body)
            && !payload.is::<Gone>()
        {
            // A failed assertion of the program is one of the test.
            std::process::abort();
        }
    });
    lock(&machine.host().threads).push(thread);
}

/// Unwinds a program whose task has ended.
struct Gone;

/// A task in user mode.
pub(super) struct User {
    pub(super) kernel: Arc<Kernel<Fake>>,
    pub(super) task: Arc<Task<Fake>>,
    pub(super) cpu: Registers,
}

/// Where handlers' stacks are: far below anything else on the first stack.
pub(super) const SCRATCH: u64 = 0x10_0000;

impl User {
    fn host(&self) -> &Threads {
        self.kernel.machine().host()
    }

    /// Makes a system call; negative results are errors.
    pub(super) fn call(&mut self, nr: Sysno, args: &[u64]) -> i64 {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        loop {
            let here = self.cpu.regs.rip;
            self.cpu.regs.rip = here + 2;
            self.trap(Trap::Syscall {
                nr: u64::from(nr.raw()),
                args: all,
            });
            self.run_handlers();
            if self.cpu.regs.rip != here {
                return self.cpu.regs.rax as i64;
            }
            // The call starts again.
            assert_eq!(self.cpu.regs.rax, u64::from(nr.raw()));
        }
    }

    /// A call that must succeed.
    pub(super) fn must(&mut self, nr: Sysno, args: &[u64]) -> u64 {
        let result = self.call(nr, args);
        assert!(result >= 0, "{nr}: {}", -result);
        result as u64
    }

    /// One instruction of user mode: signals that came in are handled.
    pub(super) fn step(&mut self) {
        std::thread::sleep(Duration::from_millis(1));
        if self.task.thread().kicked.swap(false, Ordering::AcqRel) {
            self.trap(Trap::Kicked);
            self.run_handlers();
        }
    }

    /// Runs in user mode until `ready`.
    pub(super) fn spin_until(&mut self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing happened");
            self.step();
        }
    }

    fn trap(&mut self, trap: Trap) {
        if self
            .kernel
            .clone()
            .handle(&self.task.clone(), &mut self.cpu, trap)
            == Next::Gone
        {
            panic::resume_unwind(Box::new(Gone) as Box<dyn Any + Send>);
        }
    }

    /// If a handler is to run, runs it and returns from it.
    fn run_handlers(&mut self) {
        while let Some(handler) = { lock(&self.host().handlers).get(&self.cpu.regs.rip).cloned() } {
            let frame = self.cpu.regs.rsp;
            let signal = self.cpu.regs.rdi;
            let entry = self.cpu.regs.rip;
            handler(self, signal);
            // `ret` to the restorer, which makes the call.
            self.cpu.regs.rsp = frame + 8;
            self.cpu.regs.rip = entry + 0x100;
            self.trap(Trap::Syscall {
                nr: u64::from(Sysno::RT_SIGRETURN.raw()),
                args: [0; 6],
            });
        }
    }

    /// Sets a handler.
    pub(super) fn on(
        &mut self,
        signal: Signal,
        flags: u64,
        handler: impl Fn(&mut User, u64) + Send + Sync + 'static,
    ) {
        let at = 0x5000_0000
            + Arc::as_ptr(&self.task) as u64 % 0x1000 * 0x10_0000
            + u64::from(signal.raw()) * 0x1000;
        lock(&self.host().handlers).insert(at, Arc::new(handler));
        self.action(signal, at, flags);
    }

    pub(super) fn action(&mut self, signal: Signal, handler: u64, flags: u64) {
        const RESTORER: u64 = 0x0400_0000;
        self.store(SCRATCH, &[handler, flags | RESTORER, 0x6000_0000, 0]);
        self.must(Sysno::RT_SIGACTION, &[u64::from(signal.raw()), SCRATCH, 0, 8]);
    }

    /// Forks; the child runs `child`.
    pub(super) fn fork(&mut self, child: impl FnOnce(&mut User) + Send + 'static) -> u64 {
        self.give_program(child);
        self.must(Sysno::FORK, &[])
    }

    /// Makes the next clone run `child`.
    pub(super) fn give_program(&mut self, child: impl FnOnce(&mut User) + Send + 'static) {
        lock(&self.host().children).insert(&raw const self.cpu as usize, Box::new(child));
    }

    /// Starts a thread.
    pub(super) fn spawn(
        &mut self,
        extra: u64,
        tid_at: u64,
        thread: impl FnOnce(&mut User) + Send + 'static,
    ) -> u64 {
        const PTHREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
        self.give_program(thread);
        self.must(Sysno::CLONE, &[PTHREAD | extra, 0, tid_at, tid_at, 0])
    }

    fn fault(&mut self, addr: u64, write: bool) {
        let error_code = 4 | if write { 2 } else { 0 };
        self.trap(Trap::PageFault {
            addr: VirtAddr::new(addr),
            error_code,
        });
        self.run_handlers();
    }

    /// Stores words as user code does.
    pub(super) fn store(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.touch(at, true);
        self.task
            .space()
            .expect("a space")
            .copy_out(VirtAddr::new(at), &bytes)
            .expect("mapped");
    }

    /// Loads a 32-bit word as user code does.
    pub(super) fn load(&mut self, at: u64) -> u32 {
        self.touch(at, false);
        self.task
            .space()
            .expect("a space")
            .read_u32(VirtAddr::new(at))
            .expect("mapped")
    }

    /// Stores a 32-bit word.
    pub(super) fn store_u32(&mut self, at: u64, value: u32) {
        self.touch(at, true);
        self.task
            .space()
            .expect("a space")
            .write_u32(VirtAddr::new(at), value)
            .expect("mapped");
    }

    /// Touches a byte, through page faults if need be.
    pub(super) fn touch(&mut self, at: u64, write: bool) {
        for _ in 0..8 {
            let entry = self
                .task
                .space()
                .expect("a space")
                .tables()
                .get(VirtAddr::new(at).page());
            if entry.is_present() && (!write || entry.is_writable()) {
                return;
            }
            self.fault(at, write);
        }
    }

    /// What the kernel takes of the machine from now on.
    pub(super) fn tell_kernel_memory(&self, own: KernelMemory) {
        *lock(&self.host().own) = own;
    }

    /// Raises an exception.
    pub(super) fn raise(&mut self, vector: u8) {
        self.trap(Trap::Exception {
            vector,
            error_code: 0,
        });
        self.run_handlers();
    }
}

/// Boots a machine, runs `program` as its first process, waits for all tasks
/// and returns how the program ended. Nothing may be left of any of them.
pub(super) fn run(program: impl FnOnce(&mut User) + Send + 'static) -> WaitStatus {
    run_in(|_| TaskFiles::new(), program)
}

/// The same, with the files that `files` makes.
pub(super) fn run_in(
    files: impl FnOnce(&Kernel<Fake>) -> TaskFiles<Fake>,
    program: impl FnOnce(&mut User) + Send + 'static,
) -> WaitStatus {
    let kernel = machine();
    let threads = kernel.machine().host();
    start(&kernel, files(&kernel), program);
    std::thread::scope(|scope| {
        let clock = scope.spawn(|| keep_time(&kernel));
        loop {
            let Some(thread) = ({ lock(&threads.threads).pop() }) else {
                break;
            };
            thread.join().expect("a program");
        }
        threads.stopped.store(true, Ordering::Release);
        threads.alarm_changed.notify_all();
        clock.join().expect("the clock");
    });

    assert_eq!(kernel.tree().task_count(), 0, "tasks are left");
    assert_eq!(kernel.tree().nodes().count(), 0, "zombies are left");
    let events = lock(&threads.events);
    let ended = events.iter().find_map(|event| match event {
        ProgramEvent::Ended(status) => Some(*status),
        _ => None,
    });
    ended.expect("the program has ended")
}

pub(super) fn machine() -> Arc<Kernel<Fake>> {
    Fake::boot(Threads::default(), 16 << 20, iomem())
}

/// RAM, with devices in the middle.
fn iomem() -> foliant_uapi::text::Iomem {
    let text =
        b"00000000-0009ffff : System RAM\n000a0000-000fffff : Reserved\n  000f0000-000fffff : System ROM\n\
                 00100000-00ffffff : System RAM\n";
    foliant_uapi::text::Iomem::parse(text).expect("it is one")
}

fn keep_time(kernel: &Kernel<Fake>) {
    let shared = kernel.machine().host();
    while !shared.stopped.load(Ordering::Acquire) {
        let now = kernel.machine().now();
        let due = {
            let alarm = lock(&shared.alarm);
            let left = alarm
                .map_or(u64::MAX, |at| at.0.saturating_sub(now.0))
                .min(5_000_000);
            if left != 0 {
                drop(
                    shared
                        .alarm_changed
                        .wait_timeout(alarm, Duration::from_nanos(left)),
                );
                false
            } else {
                true
            }
        };
        if due {
            kernel.tick();
        }
    }
}

/// The first task, with a stack page and nothing else: no file is needed.
fn start(
    kernel: &Arc<Kernel<Fake>>,
    files: TaskFiles<Fake>,
    program: impl FnOnce(&mut User) + Send + 'static,
) {
    let layout = foliant_mm::Layout::new(8 << 20, foliant_mm::Growth::TopDown, foliant_mm::Randomness::None);
    let space = Space::new(kernel.memory(), layout, foliant_mm::Limits::default()).expect("a space");
    let request = foliant_mm::MapRequest {
        addr: VirtAddr::new(SCRATCH),
        len: 64 << 10,
        prot: Prot::READ_WRITE,
        flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED,
        offset: 0,
        file: None,
    };
    space.mmap(&request).expect("a stack");
    kernel.tree().reserve(Pid::INIT);
    let tid = kernel.tree().unused().expect("a number");
    let actions = Arc::new(foliant_platform::sync::SpinLock::new(Actions::new()));
    let process = Arc::new(Process::new(
        tid,
        kernel.machine().clone(),
        actions,
        Limits::new(),
    ));
    let task = Task::new(Parts {
        tid,
        process: process.clone(),
        parker: Parker::new(kernel.machine().sleeper()),
        thread: FakeThread::default(),
        space,
        image: Arc::new(Image::default()),
        running: None,
        files,
        creds: Arc::new(Credentials {
            caps: Capabilities {
                effective: u64::MAX,
                ..Capabilities::default()
            },
            ..Credentials::default()
        }),
        signals: TaskSignals::default(),
        sched: Sched::new(2),
        words: UserWords::default(),
        vfork: None,
        name: [0; 16],
        timer_slack: 0,
    });
    process.group.lock().tasks.push(task.clone());
    {
        let mut tree = kernel.tree();
        tree.add_task(&task);
        tree.add_process(Node {
            process: process.clone(),
            parent: Pid::NONE,
            children: Vec::new(),
            group: tid,
            session: tid,
            subreaper: false,
            has_execed: true,
            ended: None,
            stopped: None,
            continued: false,
            exit_signal: Some(Signal::CHLD),
        });
    }
    let regs = UserRegs {
        rsp: SCRATCH + (60 << 10),
        ..UserRegs::default()
    };
    run_task(kernel.machine(), task, Registers::new(regs), Box::new(program));
}

pub(super) use foliant_uapi::signal::Signal;
