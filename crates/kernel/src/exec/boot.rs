//! The first program of a machine.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{Growth, Layout, Randomness};
use foliant_platform::sync::SpinLock;
use foliant_units::Errno;

use crate::creds::Credentials;
use crate::fs::{Last, TaskFiles, Walk};
use crate::kernel::Kernel;
use crate::limits::Limits;
use crate::machine::{self, Start, UserMachine};
use crate::park::Parker;
use crate::pid::{Node, Pid};
use crate::process::Process;
use crate::sched::Sched;
use crate::signal::{Actions, SigAction, SigSet, Signal, TaskSignals};
use crate::space::Space;
use crate::task::{Parts, Task, UserWords};
use crate::terminal;

use super::args::Args;
use super::image::Image;
use super::run::{Failure, Origin, caller, prepare};

/// What the first program is, and what it finds.
pub struct Boot<M: UserMachine> {
    /// Path of the program.
    pub path: Vec<u8>,
    /// Its arguments, the first of which is its name.
    pub args: Vec<Vec<u8>>,
    /// Its environment.
    pub env: Vec<Vec<u8>>,
    /// Its descriptors and directories.
    pub files: TaskFiles<M>,
    /// Who it acts for.
    pub creds: Credentials,
    /// Its limits.
    pub limits: Limits,
    /// Signals that it ignores, as those of whoever starts it.
    pub ignored: SigSet,
    /// Signals that it holds back.
    pub blocked: SigSet,
    /// Whether it leads a process group of its own, rather than being one of a
    /// group outside the machine.
    pub leads_group: bool,
    /// Whether its session has a controlling terminal, whose foreground it is.
    pub has_terminal: bool,
}

/// Why the first program does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootError {
    /// What `execve` would have answered.
    Exec(Errno),
    /// The image could be found but not be mapped, for this reason.
    Unmappable(Errno),
    /// The machine has no room for a task.
    Machine(Errno),
}

impl<M: UserMachine> Kernel<M> {
    /// Starts the first program of this machine.
    ///
    /// # Errors
    /// [`BootError`]; nothing runs then.
    pub fn boot(self: &Arc<Self>, boot: Boot<M>) -> Result<Arc<Task<M>>, BootError> {
        let args = Args {
            argv: VecDeque::from(boot.args.clone()),
            envp: boot.env.clone(),
        };
        let path = boot.path.clone();
        let (has_terminal, leads_group) = (boot.has_terminal, boot.leads_group);
        let task = first_task(self, boot).map_err(BootError::Machine)?;
        let context = task.files().context();
        let origin = Origin {
            walk: Walk {
                root: context.root(),
                start: context.cwd(),
                chrooted: false,
                bounds: foliant_uapi::open::ResolveFlags::empty(),
                caller: caller(&task),
            },
            path: &path,
            shown: &path,
            last: Last::Follow,
            node: None,
        };
        let ready = prepare(self, &task, &origin, args).map_err(|failure| match failure {
            Failure::Errno(errno) => BootError::Exec(errno),
            Failure::Kill(errno) => BootError::Unmappable(errno),
        })?;

        task.replace_space(Some(ready.space));
        task.set_image(Arc::new(ready.image));
        task.set_running(ready.running);
        task.set_name(&ready.name);
        introduce(
            self,
            &task,
            leads_group,
            has_terminal.then(|| first_terminal(&task)),
        );
        let start = Start {
            task: &task,
            origin: machine::Origin::Fresh,
            regs: ready.regs,
        };
        self.machine().start(start).map_err(BootError::Machine)?;
        Ok(task)
    }
}

fn first_task<M: UserMachine>(kernel: &Arc<Kernel<M>>, boot: Boot<M>) -> Result<Arc<Task<M>>, Errno> {
    let machine = kernel.machine();
    let tid = {
        let mut tree = kernel.tree();
        if tree.nodes().next().is_none() {
            // Number 1 is whoever adopts orphans, which is nobody here.
            tree.reserve(Pid::INIT);
        }
        tree.unused().ok_or(Errno::AGAIN)?
    };
    let mut actions = Actions::new();
    for signal in boot.ignored.iter() {
        actions.get_mut(signal).handler = SigAction::IGNORE;
    }
    let process = Process::new(
        tid,
        machine.clone(),
        Arc::new(SpinLock::new(actions)),
        boot.limits,
    );
    // Replaced before the task runs.
    let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
    let space = Space::new(kernel.memory(), layout, foliant_mm::Limits::default())?;
    Ok(Task::new(Parts {
        tid,
        process: Arc::new(process),
        parker: Parker::new(machine.sleeper()),
        thread: machine.thread()?,
        space,
        image: Arc::new(Image::default()),
        running: None,
        files: boot.files,
        creds: Arc::new(boot.creds),
        signals: TaskSignals {
            blocked: boot.blocked,
            ..TaskSignals::default()
        },
        sched: Sched::new(machine.cpus()),
        words: UserWords::default(),
        vfork: None,
        name: [0; 16],
        timer_slack: 50_000,
    }))
}

/// The device number of the first terminal among the descriptors; 0 if there
/// is none, so that only `/dev/tty` is the session's.
fn first_terminal<M: UserMachine>(task: &Task<M>) -> u64 {
    let open = task.files().table().list();
    let mut terminals = open
        .iter()
        .map(|(_, open)| open.file())
        .filter(|file| file.is_terminal());
    terminals.next().map_or(0, |file| terminal::device(&**file))
}

/// Gives the first process its place: a group of its own, or that of those
/// outside, in a session whose leader is outside the machine.
fn introduce<M: UserMachine>(
    kernel: &Kernel<M>,
    task: &Arc<Task<M>>,
    leads_group: bool,
    terminal: Option<u64>,
) {
    let process = task.process();
    let group = if leads_group { process.id() } else { Pid::INIT };
    process.group.lock().tasks.push(task.clone());
    let mut tree = kernel.tree();
    tree.add_task(task);
    tree.add_process(Node {
        process: process.clone(),
        parent: Pid::NONE,
        children: Vec::new(),
        group,
        session: Pid::INIT,
        subreaper: false,
        has_execed: true,
        ended: None,
        stopped: None,
        continued: false,
        exit_signal: Some(Signal::CHLD),
    });
    let session = tree.session_mut(Pid::INIT);
    session.has_terminal = terminal.is_some();
    session.device = terminal.unwrap_or(0);
    session.foreground = terminal.map(|_| group);
}
