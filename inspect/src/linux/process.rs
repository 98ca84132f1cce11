//! The processes of a kernel.

use foliant_units::VirtAddr;

use super::btf::Btf;
use super::error::LinuxError;
use super::kallsyms::Symbols;
use super::kernel::Kernel;
use super::shape;
use crate::root::Root;

/// More processes than this no kernel has.
const MOST: usize = 1 << 22;
const COMM: usize = 16;
/// `swapper/0`, as far as a word reaches.
const FIRST_NAME: &[u8; 8] = b"swapper/";

/// A process, that is the first thread of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps -c` prints it.
    pub name: String,
    /// Its tables; `None` for a thread of the kernel.
    pub root: Option<Root>,
}

/// Where members lie.
struct Places {
    tasks: u64,
    tgid: u64,
    comm: u64,
    mm: u64,
    pgd: u64,
}

impl Places {
    fn find(btf: &Btf) -> Result<Self, LinuxError> {
        let task = |member, name| btf.offset("task_struct", member).ok_or(LinuxError::NoType(name));
        Ok(Self {
            tasks: task("tasks", "task_struct.tasks")?,
            tgid: task("tgid", "task_struct.tgid")?,
            comm: task("comm", "task_struct.comm")?,
            mm: task("mm", "task_struct.mm")?,
            pgd: btf
                .offset("mm_struct", "pgd")
                .ok_or(LinuxError::NoType("mm_struct.pgd"))?,
        })
    }
}

fn plus(at: VirtAddr, offset: u64) -> VirtAddr {
    VirtAddr::new(at.raw().wrapping_add(offset))
}

impl Kernel<'_> {
    /// All processes. The kernel's types tell where members lie, and its
    /// symbols where the first task is; without symbols of data
    /// (`CONFIG_KALLSYMS_ALL`) both are searched for.
    ///
    /// # Errors
    /// If the kernel has no types, or its list is damaged.
    pub fn processes(&self) -> Result<Vec<Process>, LinuxError> {
        let symbols = Symbols::read(self).ok();
        let named = symbols.as_ref().and_then(|symbols| Btf::read(self, symbols).ok());
        let Some(btf) = named.or_else(|| Btf::search(self.image())) else {
            // Kernels of i386 have no types; what structures hold shows what they are.
            let seen = if self.is_wide() {
                None
            } else {
                shape::processes(self)
            };
            return seen.ok_or(LinuxError::NoType("types"));
        };
        let places = Places::find(&btf)?;
        let init = symbols
            .and_then(|symbols| symbols.get("init_task"))
            .or_else(|| self.search_first(&places))
            .ok_or(LinuxError::NoSymbol("init_task"))?;
        let mut all = Vec::new();
        let mut task = init;
        // A list that turns in a circle without the first comes by a mark that
        // is moved on after 1, 2, 4, 8, ... tasks.
        let (mut mark, mut until) = (init, 1);
        loop {
            let next = self.pointer(plus(task, places.tasks))?;
            task = plus(next, places.tasks.wrapping_neg());
            if task == init {
                return Ok(all);
            }
            if task == mark || all.len() == MOST {
                return Err(LinuxError::Nonsense("lists of processes"));
            }
            all.push(self.process(task, &places)?);
            if all.len() == until {
                (mark, until) = (task, until * 2);
            }
        }
    }

    /// The first task has a well-known name, and the list of tasks leads from
    /// it to the next and back, which tells its address in kernel memory.
    fn search_first(&self, places: &Places) -> Option<VirtAddr> {
        self.image().search(|at, memory| {
            let (words, _) = memory.as_chunks::<8>();
            let named = words.iter().enumerate().filter(|(_, word)| **word == *FIRST_NAME);
            let mut tasks = named.filter_map(|(nth, _)| {
                let task = (at + nth as u64 * 8).checked_sub(places.comm)?;
                let mut next = [0; 8];
                let list = task.checked_add(places.tasks)?;
                self.image().read(list, &mut next).ok()?;
                let next = VirtAddr::new(u64::from_le_bytes(next));
                let own = self.pointer(plus(next, 8)).ok()?;
                let is_it = self.translate(own).ok()? == list;
                is_it.then(|| plus(own, places.tasks.wrapping_neg()))
            });
            tasks.next()
        })
    }

    /// The process of this number.
    ///
    /// # Errors
    /// As [`processes`](Self::processes), and if there is none.
    pub fn process_root(&self, pid: u32) -> Result<Root, LinuxError> {
        let all = self.processes()?;
        let found = all.into_iter().find(|process| process.pid == pid);
        let found = found.ok_or(LinuxError::NoProcess(pid))?;
        found.root.ok_or(LinuxError::NoSpace(pid))
    }

    fn process(&self, task: VirtAddr, places: &Places) -> Result<Process, LinuxError> {
        let mm = self.pointer(plus(task, places.mm))?;
        let root = if mm == VirtAddr::ZERO {
            None
        } else {
            let pgd = self.pointer(plus(mm, places.pgd))?;
            Some(self.root_at(self.translate(pgd)?))
        };
        Ok(Process {
            pid: self.u32(plus(task, places.tgid))?,
            name: self.text(plus(task, places.comm), COMM)?,
            root,
        })
    }
}
