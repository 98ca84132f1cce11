//! One machine and the program that it runs.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use foliant_kernel::exec::Boot;
use foliant_kernel::fs::{OpenFile, TaskFiles};
use foliant_kernel::signal::SigSet;
use foliant_kernel::tmpfs::Mount;
use foliant_kernel::{Kernel, Limits, ProgramEvent, Settings, Task, WaitStatus};
use foliant_mm::Env;
use foliant_phys::{BootOptions, Phys};
use foliant_uapi::open::OpenFlags;
use foliant_units::{Errno, PAGE_SHIFT};

use super::account::held;
use super::error::RunError;
use super::identity;
use super::options::{Command, Options};
use super::{signals, surroundings};
use crate::host::HostError;
use crate::hostfs::{self, HostFs};
use crate::machine::{MachineEvent, User};

/// A machine with a kernel and files, ready for a program.
pub struct Session {
    machine: User,
    kernel: Arc<Kernel<User>>,
    files: Arc<HostFs<User>>,
    shared_memory: Option<Mount<User>>,
    inherited: Vec<RawFd>,
    fail_at: Option<u64>,
    /// Frames that the machine holds before there is a program, and the
    /// allocations until then.
    at_first: (u64, u64),
    signals: signals::Forwarder,
    /// Signals that this process was given as ignored, and as blocked.
    given: (SigSet, SigSet),
    /// Limits that this process was given.
    limits: Limits,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As it chose, or by a signal.
    Ended(WaitStatus),
    /// The host failed the machine.
    Failed(HostError),
    /// A thread of the machine panicked: a fault of Foliant.
    Panicked,
}

impl Outcome {
    /// The exit status by which a shell tells of it: 128 and the signal for a
    /// death by signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ended(WaitStatus::Exited(code)) => code,
            Self::Ended(WaitStatus::Killed(signal, _) | WaitStatus::Stopped(signal)) => 128 + signal.raw(),
            Self::Ended(WaitStatus::Continued) => 0,
            Self::Failed(_) | Self::Panicked => FAILED,
        }
    }
}

/// Exit status where Foliant itself failed, as with `env` and `timeout`.
const FAILED: u8 = 125;
/// Part of RAM whose frames may hold pages of closed files.
const KEPT_PART: u64 = 4;
/// Tasks at once; every one needs a host thread.
const TASKS: u64 = 4096;

impl Session {
    /// Makes a machine and boots a kernel on it. The calling thread must live
    /// as long as the session.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn new(options: Options) -> Result<Self, RunError> {
        let given = identity::signals();
        let limits = surroundings::prepare()?;
        let inherited = inherited();
        // Before any thread is made: a thread that does not hold them back
        // would die of the signals that are the program's.
        let signals = signals::Forwarder::new();
        let machine = User::new(options.memory.reach(), options.cpus, options.host_mappings)?;
        let boot = BootOptions {
            ram_is_zeroed: true,
            movable: options.memory.movable(),
            page_owner: options.page_owner,
            hotplug_below: match options.memory.hotplug() {
                none if none.is_empty() => 0,
                some => some.end.raw(),
            },
            ..BootOptions::default()
        };
        let phys = Arc::new(Phys::boot(machine.clone(), options.memory.map(), boot)?);
        if options.page_owner {
            phys.set_console(Some(Arc::new(machine.watch_owners())));
        }
        let memory = Env::new(phys).map_err(|_| RunError::NoFrames)?;
        if let Some(global) = options.folios.global {
            memory.thp().set_global(global);
        }
        for &(order, setting) in &options.folios.sizes {
            memory.thp().set_size(order, setting);
        }
        let settings = Settings {
            identity: identity::identity(),
            randomize: options.randomize,
            seed: options.seed,
            hardware: identity::hardware(),
            vdso: true,
            max_tasks: TASKS,
            iomem: options.memory.iomem(),
            hotplug: options.memory.hotplug(),
        };
        let kernel = Kernel::watched(machine.clone(), memory.clone(), settings, options.observer);
        machine.attach(&kernel);
        kernel.start_compaction();
        let kept = (options.memory.end() >> PAGE_SHIFT) / KEPT_PART;
        let files = HostFs::new(memory, kept).map_err(RunError::Files)?;
        let mut session = Self {
            machine,
            kernel,
            files,
            shared_memory: None,
            inherited,
            fail_at: options.fail_at,
            at_first: (0, 0),
            signals,
            given,
            limits,
        };
        let mount = hostfs::attach(&session.kernel, &session.files).map_err(RunError::Files)?;
        session.shared_memory = Some(mount);
        let phys = session.kernel.memory().phys();
        session.at_first = (held(phys), phys.allocations());
        Ok(session)
    }

    /// The machine.
    pub fn machine(&self) -> &User {
        &self.machine
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel<User>> {
        &self.kernel
    }

    /// Frames held and allocations made before there was a program.
    pub(super) fn at_first(&self) -> (u64, u64) {
        self.at_first
    }

    /// Lets go of what is kept for programs to come.
    pub(super) fn drop_caches(&self) {
        self.files.forget_closed();
        if let Some(mount) = &self.shared_memory {
            mount.clear();
        }
        self.kernel.segments().clear();
    }

    /// Runs a program to its end. Signals that a terminal sends to this process
    /// become the program's.
    ///
    /// # Errors
    /// [`RunError`] if it does not even start.
    pub fn run(&self, command: &Command) -> Result<Outcome, RunError> {
        let task = self.start(command)?;
        self.signals.serve(&self.kernel, &task);
        let outcome = self.await_end(&task);
        self.files.sync();
        Ok(outcome)
    }

    fn start(&self, command: &Command) -> Result<Arc<Task<User>>, RunError> {
        let (ignored, blocked) = self.given;
        let boot = Boot {
            path: command.path.as_os_str().as_bytes().to_vec(),
            args: command.args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            env: command
                .env
                .iter()
                .map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat())
                .collect(),
            files: self.task_files().map_err(RunError::Files)?,
            creds: identity::credentials(),
            limits: self.limits.clone(),
            ignored,
            blocked,
            leads_group: rustix::process::getpgrp() == rustix::process::getpid(),
            has_terminal: signals::is_in_foreground(),
        };
        if let Some(nth) = self.fail_at {
            self.kernel.memory().phys().fail_at(nth);
        }
        Ok(self.kernel.boot(boot)?)
    }

    fn await_end(&self, task: &Task<User>) -> Outcome {
        loop {
            match self.machine.next_event() {
                MachineEvent::Program(ProgramEvent::Ended(status)) => return Outcome::Ended(status),
                MachineEvent::Program(ProgramEvent::Stopped(signal)) => {
                    self.signals.stop_like_the_program(&self.kernel, task, signal);
                }
                MachineEvent::Program(ProgramEvent::Continued) => {}
                MachineEvent::OutOfMemory(report) => {
                    let name = String::from_utf8_lossy(&report.name);
                    let name = name.trim_end_matches('\0');
                    let kib = report.resident_pages << (PAGE_SHIFT - 10);
                    eprintln!(
                        "foliant: out of memory: process {} ({name}) is killed, it has {kib} KiB",
                        report.pid.raw()
                    );
                }
                MachineEvent::Misbehaved(pid) => eprintln!(
                    "foliant: process {} entered pages of the machine itself and is killed",
                    pid.raw()
                ),
                MachineEvent::Stillborn(pid) => eprintln!(
                    "foliant: the host makes no process for process {}, which is killed; allow more \
                     processes (ulimit -u, or the container's limit of tasks) or memory",
                    pid.raw()
                ),
                MachineEvent::Panicked => return Outcome::Panicked,
                MachineEvent::Failed(error) => return Outcome::Failed(error),
            }
        }
    }

    /// Working directory and descriptors as this process got them.
    fn task_files(&self) -> Result<TaskFiles<User>, Errno> {
        let files = TaskFiles::rooted(self.kernel.files().root(), self.files.directory(".")?);
        files.context().set_umask(self.files.inherited_umask());
        for &fd in &self.inherited {
            // SAFETY: no memory is involved.
            let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
            if copy < 0 {
                continue;
            }
            // SAFETY: the descriptor is new and nobody else's.
            let copy = unsafe { OwnedFd::from_raw_fd(copy) };
            let flags = rustix::fs::fcntl_getfl(&copy).map_or(OpenFlags::empty(), |flags| {
                OpenFlags::from_bits_retain(flags.bits())
            });
            let open = OpenFile::new(self.files.adopt(copy)?, flags);
            files.table().add(open, false, fd as u32, u64::MAX)?;
        }
        Ok(files)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.machine.close();
    }
}

/// Descriptors that a program started by this process would get.
fn inherited() -> Vec<RawFd> {
    let Ok(directory) = std::fs::read_dir("/proc/self/fd") else {
        return vec![0, 1, 2];
    };
    let numbers = directory
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut fds: Vec<RawFd> = numbers.filter(|&fd| is_inherited(fd)).collect();
    fds.sort_unstable();
    fds
}

fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}
