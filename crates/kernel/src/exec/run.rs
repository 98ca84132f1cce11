//! `execve`, from a path to a space that is ready to run.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{CopyError, Growth, Layout, Limits, Randomness, Source, ThpMode, VmFlags};
use foliant_uapi::auxv::*;
use foliant_uapi::resource::Resource;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange};

use crate::creds::{Capability, Credentials};
use crate::fs::{Caller, Last, NodeRef, Running, Walk};
use crate::kernel::Kernel;
use crate::machine::{UserMachine, UserRegs};
use crate::space::Space;
use crate::task::Task;

use super::args::Args;
use super::commit::commit;
use super::elf::{Bytes, Elf};
use super::image::Image;
use super::load::{self, Loaded, Placement};
use super::program::Program;
use super::script::{HEAD, shebang};
use super::stack::{self, Facts};

/// Interpreters of interpreters that are followed.
const DEPTH: u32 = 5;
/// `personality` bits.
const NO_RANDOM: u32 = 0x0004_0000;
const COMPAT_LAYOUT: u32 = 0x0020_0000;
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
/// Flags of the interrupt-enabled user mode.
const FIRST_FLAGS: u64 = 0x202;

/// Whence a path to execute is looked up.
pub(crate) struct Origin<'a, M: UserMachine> {
    /// How to walk.
    pub(crate) walk: Walk<M>,
    /// The path, as the program gave it.
    pub(crate) path: &'a [u8],
    /// The path as `AT_EXECFN` and the interpreters of scripts see it.
    pub(crate) shown: &'a [u8],
    /// Whether a link in the last place is followed.
    pub(crate) last: Last,
    /// The file itself, where it has no path (`execveat` with an empty one).
    pub(crate) node: Option<NodeRef<M>>,
}

/// A space with a program in it.
pub(super) struct Ready<M: UserMachine> {
    pub(super) space: Arc<Space<M>>,
    pub(super) image: Image,
    pub(super) regs: UserRegs,
    /// Keeps writers away from the file.
    pub(super) running: Option<Arc<Running>>,
    /// What the task will be called.
    pub(super) name: Vec<u8>,
}

/// Why there is no program.
pub(super) enum Failure {
    /// The caller goes on with this.
    Errno(Errno),
    /// The caller is past going on: its image is thought to be gone. For the
    /// first program, which has no image to lose, this is why.
    Kill(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Errno(errno)
    }
}

/// Replaces the caller's program.
///
/// # Errors
/// Those of `execve(2)`. Where Linux kills the caller it is killed here too,
/// and the answer does not matter.
///
/// # Linux source concept
/// `do_execveat_common()`.
pub(crate) fn execve<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    cpu: &mut M::Cpu,
    origin: Origin<'_, M>,
    args: Args,
) -> Result<(), Errno> {
    match prepare(kernel, task, &origin, args) {
        Ok(ready) => commit(kernel, task, cpu, ready),
        Err(Failure::Errno(errno)) => Err(errno),
        Err(Failure::Kill(_)) => {
            task.force_default(foliant_uapi::signal::Signal::SEGV);
            Err(Errno::NOEXEC)
        }
    }
}

/// Finds the program behind scripts, and builds its space.
pub(super) fn prepare<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    origin: &Origin<'_, M>,
    mut args: Args,
) -> Result<Ready<M>, Failure> {
    let mut program = match &origin.node {
        Some(node) => Program::from_node(&origin.walk, node)?,
        None => Program::open(&origin.walk, origin.path, origin.last)?,
    };
    let stack_limit = task.process().limit(Resource::Stack);
    let mut called = origin.shown.to_vec();
    for depth in 0.. {
        args.check(origin.shown, stack_limit)?;
        let mut head = [0; HEAD];
        program.read(0, &mut head)?;
        let Some(line) = shebang(&head)? else { break };
        if depth >= DEPTH {
            return Err(Failure::Errno(Errno::LOOP));
        }
        args.argv.pop_front();
        args.argv
            .push_front(core::mem::replace(&mut called, line.interpreter.clone()));
        if let Some(argument) = line.argument {
            args.argv.push_front(argument);
        }
        args.argv.push_front(line.interpreter.clone());
        program = Program::open(&origin.walk, &line.interpreter, Last::Follow)?;
    }

    let elf = Elf::read(&program)?;
    let interpreter = match elf.interpreter(&program)? {
        None => None,
        Some(path) => Some(open_interpreter(&origin.walk, &path)?),
    };
    build(kernel, task, origin.shown, &args, (program, elf), interpreter)
}

fn open_interpreter<M: UserMachine>(walk: &Walk<M>, path: &[u8]) -> Result<(Program<M>, Elf), Errno> {
    let program = Program::open(walk, path, Last::Follow)?;
    let mut head = [0; size_of::<foliant_uapi::elf::ElfHeader>()];
    if program.read(0, &mut head)? != head.len() {
        return Err(Errno::IO);
    }
    let elf = Elf::read(&program).map_err(|errno| {
        if errno == Errno::NOEXEC {
            Errno::LIBBAD
        } else {
            errno
        }
    })?;
    Ok((program, elf))
}

/// Builds the space. From here on, Linux has given the old one up: what fails kills.
fn build<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    path: &[u8],
    args: &Args,
    (program, elf): (Program<M>, Elf),
    interpreter: Option<(Program<M>, Elf)>,
) -> Result<Ready<M>, Failure> {
    let mut layout = layout(kernel, task);
    let top = layout.stack_top();
    let moved = layout.program_shift();
    let shift = layout.random() % 8192;
    let space = Space::new(kernel.memory(), layout, mm_limits(task)).map_err(Failure::Errno)?;
    if let Some(old) = task.space() {
        space.set_thp_mode(old.thp_mode());
    }

    let placement = placement(&elf, interpreter.is_some(), moved);
    let loaded = load::load(&space, &program, &elf, placement).map_err(Failure::Kill)?;
    let (base, start) =
        load_interpreter(&space, &elf, loaded, interpreter.as_ref()).map_err(Failure::Kill)?;
    set_heap(&space, &elf, interpreter.is_some(), loaded);
    let vdso = kernel.vdso().map(|vdso| vdso.map(&space)).transpose();
    let vdso = vdso.map_err(Failure::Kill)?;

    let entries = vector(kernel, &task.creds(), &elf, loaded, Places { base, vdso });
    let mut random = [0; 16];
    kernel.machine().random(&mut random);
    let facts = Facts {
        entries,
        random,
        shift,
    };
    let stack = stack::build(top, args, path, &facts);
    let stack_limit = task.process().limit(Resource::Stack);
    map_stack(&space, top, &stack, elf.wants_executable_stack(), stack_limit).map_err(Failure::Kill)?;

    let regs = UserRegs {
        rip: start,
        rsp: stack.start.raw(),
        rflags: FIRST_FLAGS,
        ..UserRegs::default()
    };
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path).to_vec();
    Ok(Ready {
        space,
        image: image(&program, &elf, loaded, stack),
        running: program.running,
        regs,
        name,
    })
}

/// Maps the interpreter, if there is one; where it lies, and where the program
/// starts running.
fn load_interpreter<M: UserMachine>(
    space: &Space<M>,
    elf: &Elf,
    loaded: Loaded,
    interpreter: Option<&(Program<M>, Elf)>,
) -> Result<(u64, u64), Errno> {
    let (base, start) = match interpreter {
        None => (0, loaded.bias.wrapping_add(elf.header.entry)),
        Some((program, elf)) => {
            let placement = if elf.is_movable() {
                Placement::Anywhere
            } else {
                Placement::Fixed
            };
            let at = load::load(space, program, elf, placement)?;
            (at.bias, at.bias.wrapping_add(elf.header.entry))
        }
    };
    if start < foliant_mm::TASK_END.raw() {
        Ok((base, start))
    } else {
        Err(Errno::INVAL)
    }
}

/// What `/proc` will tell of the program.
fn image<M: UserMachine>(program: &Program<M>, elf: &Elf, loaded: Loaded, stack: stack::StackImage) -> Image {
    let (code, data) = elf.extents();
    let move_up = |range: VirtRange| {
        let up = |at: VirtAddr| VirtAddr::new(at.raw().wrapping_add(loaded.bias));
        VirtRange::new(up(range.start), up(range.end))
    };
    Image {
        exe: program.path.clone(),
        args: stack.args,
        env: stack.env,
        auxv: stack.auxv,
        code: move_up(code),
        data: move_up(data),
        stack: stack.start.raw(),
    }
}

fn is_random<M: UserMachine>(kernel: &Kernel<M>, task: &Task<M>) -> bool {
    kernel.settings().randomize && task.process().personality() & NO_RANDOM == 0
}

fn layout<M: UserMachine>(kernel: &Kernel<M>, task: &Task<M>) -> Layout {
    let growth = match task.process().personality() & COMPAT_LAYOUT {
        0 => Growth::TopDown,
        _ => Growth::BottomUp,
    };
    let randomness = if is_random(kernel, task) {
        Randomness::Seed(kernel.next_seed())
    } else {
        Randomness::None
    };
    let mut layout = Layout::new(task.process().limit(Resource::Stack), growth, randomness);
    layout.reserved = kernel.machine().reserved();
    layout.read_implies_exec = task.process().personality() & READ_IMPLIES_EXEC != 0;
    layout
}

/// The limits that a process's space is to keep.
pub(crate) fn mm_limits<M: UserMachine>(task: &Task<M>) -> Limits {
    let process = task.process();
    let creds = task.creds();
    Limits {
        address_space: process.limit(Resource::As),
        data: process.limit(Resource::Data),
        stack: process.limit(Resource::Stack),
        memlock: process.limit(Resource::Memlock),
        may_lock_all: creds.has(Capability::IpcLock),
        may_map_low: creds.has(Capability::SysRawio),
        ..Limits::default()
    }
}

/// # Linux source concept
/// The `ET_DYN` cases of `load_elf_binary()`.
fn placement(elf: &Elf, has_interpreter: bool, moved: u64) -> Placement {
    match (elf.is_movable(), has_interpreter) {
        (false, _) => Placement::Fixed,
        (true, true) => Placement::At((load::MOVABLE_BASE + moved) & !(elf.alignment() - 1)),
        // An interpreter that was called by name, or a program that moves itself.
        (true, false) => Placement::Anywhere,
    }
}

/// The heap starts behind the program, or, where that lies among the
/// mappings, at the place of programs.
fn set_heap<M: UserMachine>(space: &Space<M>, elf: &Elf, has_interpreter: bool, loaded: Loaded) {
    let lonely = elf.is_movable() && !has_interpreter;
    let end = if lonely { load::MOVABLE_BASE } else { loaded.end };
    let end = VirtAddr::new(end.next_multiple_of(PAGE_SIZE as u64));
    let (_, data) = elf.extents();
    space.set_layout(|layout| {
        let start = layout.heap_start(end);
        layout.heap = VirtRange::new(start, start);
        let up = |at: VirtAddr| VirtAddr::new(at.raw().wrapping_add(loaded.bias));
        layout.data = VirtRange::new(up(data.start), up(data.end));
    });
}

/// Where things lie that a program did not bring along.
#[derive(Clone, Copy)]
struct Places {
    /// The interpreter.
    base: u64,
    vdso: Option<VirtAddr>,
}

/// The auxiliary vector, in Linux's order.
fn vector<M: UserMachine>(
    kernel: &Kernel<M>,
    creds: &Credentials,
    elf: &Elf,
    loaded: Loaded,
    places: Places,
) -> Vec<AuxEntry> {
    let hardware = kernel.settings().hardware;
    let headers = match elf.headers_at() {
        0 => loaded.bias,
        at => at.wrapping_add(loaded.bias),
    };
    let entries = [
        (AT_MINSIGSTKSZ, hardware.min_signal_stack),
        (AT_HWCAP, hardware.hwcap),
        (AT_PAGESZ, PAGE_SIZE as u64),
        (AT_CLKTCK, 100),
        (AT_PHDR, headers),
        (AT_PHENT, 56),
        (AT_PHNUM, u64::from(elf.header.phnum)),
        (AT_BASE, places.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, loaded.bias.wrapping_add(elf.header.entry)),
        (AT_UID, u64::from(creds.uid.real)),
        (AT_EUID, u64::from(creds.uid.effective)),
        (AT_GID, u64::from(creds.gid.real)),
        (AT_EGID, u64::from(creds.gid.effective)),
        (AT_SECURE, 0),
        (AT_RANDOM, 0),
        (AT_HWCAP2, hardware.hwcap2),
        (AT_EXECFN, 0),
        (AT_PLATFORM, 0),
    ];
    let vdso = places.vdso.map(|at| (AT_SYSINFO_EHDR, at.raw()));
    vdso.into_iter()
        .chain(entries)
        .map(|(key, value)| AuxEntry { key, value })
        .collect()
}

/// Maps the stack with the room that Linux gives it at first, and fills it.
///
/// # Linux source concept
/// `setup_arg_pages()`.
fn map_stack<M: UserMachine>(
    space: &Space<M>,
    top: VirtAddr,
    stack: &stack::StackImage,
    executable: bool,
    limit: u64,
) -> Result<(), Errno> {
    const EXTRA: u64 = 128 << 10;
    const PAGE: u64 = PAGE_SIZE as u64;
    // The strings alone decide how large it is; pointers are written later.
    let strings = top - stack.args.start.align_down(PAGE);
    let size = (strings + EXTRA).min((limit & !(PAGE - 1)).max(strings));
    let size = size.max(top - stack.start.align_down(PAGE));
    let range = VirtRange::new(top - size, top).pages();
    let rights = VmFlags::READ
        | VmFlags::WRITE
        | if executable {
            VmFlags::EXEC
        } else {
            VmFlags::empty()
        };
    let may = VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYEXEC;
    let flags = rights | may | VmFlags::GROWSDOWN | VmFlags::ACCOUNT;
    space.install(range, flags, range.start.raw(), Source::Anonymous)?;
    space.set_layout(|layout| layout.stack_start = stack.start);
    fill_stack(space, stack).map_err(|error| error.errno())
}

/// Copies the first stack. The strings go page by page, whatever the machine's
/// settings: Linux writes them before the stack has its place.
///
/// # Linux source concept
/// `copy_strings()` with `vma_is_temporary_stack()`, then `create_elf_tables()`.
fn fill_stack<M: UserMachine>(space: &Space<M>, stack: &stack::StackImage) -> Result<(), CopyError> {
    let (pointers, strings) = stack.bytes.split_at((stack.args.start - stack.start) as usize);
    let mode = space.thp_mode();
    space.set_thp_mode(ThpMode::Off);
    let copied = space.copy_out(stack.args.start, strings);
    space.set_thp_mode(mode);
    copied?;
    space.copy_out(stack.start, pointers)
}

/// Whoever walks paths for `task`.
pub(crate) fn caller<M: UserMachine>(task: &Task<M>) -> Caller {
    let creds = task.creds();
    Caller {
        process: task.process().id().raw(),
        thread: task.tid().raw(),
        user: creds.uid.files,
        group: creds.gid.files,
        overrides: creds.has(Capability::DacOverride),
    }
}
