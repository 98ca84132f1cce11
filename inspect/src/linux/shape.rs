//! Processes of a kernel that does not describe its types: where members of
//! its structures lie is seen by what they must hold.

use std::cell::Cell;
use std::collections::BTreeSet;

use foliant_units::VirtAddr;

use super::kernel::Kernel;
use super::process::Process;
use super::roots::user_roots;

/// Where an i386 kernel has its memory.
const DIRECT: u32 = 0xc000_0000;
/// Bytes of a pointer.
const WORD: u32 = 4;
/// Structures of tasks are not longer than this.
const TASK: u32 = 8192;
/// The top table stands near the beginning of an address space.
const SPACE: u32 = 512;
const COMM: u32 = 16;
/// Fewer tasks are no list of all of them.
const FEWEST: usize = 6;
/// More are a list in circles.
const MOST: usize = 1 << 16;
/// Words that are looked at, and how many more with each frame of memory: sound
/// kernels of 60 processes need 6,000, and one made to keep us busy could have
/// any number of lists that look like that of tasks.
const LOOKS: u64 = 1 << 17;
const LOOKS_PER_FRAME: u64 = 8;
/// The very first task, on machines that can have several CPUs and on others.
const FIRST: [&[u8]; 2] = [b"swapper/0\0", b"swapper\0"];

/// Distances from a task's name, which is what is found first.
struct Shape {
    /// Back to its place in the list of all tasks.
    tasks: u32,
    /// To its number; back, as two's complement, if it stands before the name.
    pid: u32,
    /// The same to its address space.
    mm: u32,
    /// From the beginning of an address space to its top table.
    pgd: u32,
}

/// All processes, by the shapes of structures; `None` if they are not to be
/// recognised.
pub(super) fn processes(kernel: &Kernel<'_>) -> Option<Vec<Process>> {
    let mut looks = Looks {
        kernel,
        roots: user_roots(kernel).iter().map(|root| root.table.raw()).collect(),
        left: Cell::new(LOOKS + kernel.image().frames().saturating_mul(LOOKS_PER_FRAME)),
    };
    looks.roots.insert(kernel.root().table.raw());
    let names = looks.names()?;
    let shape = looks.shape(names)?;
    let tasks = looks.tasks(shape.first, shape.shape.tasks)?;
    tasks
        .iter()
        .map(|&name| looks.process(name, &shape.shape))
        .collect()
}

struct Looks<'a> {
    kernel: &'a Kernel<'a>,
    /// Where top tables are.
    roots: BTreeSet<u64>,
    /// Words that may still be looked at.
    left: Cell<u64>,
}

struct Found {
    first: u32,
    shape: Shape,
}

impl Looks<'_> {
    fn word(&self, at: u32) -> Option<u32> {
        self.left.set(self.left.get().checked_sub(1)?);
        if at < DIRECT {
            return None;
        }
        self.kernel.u32(VirtAddr::new(at.into())).ok()
    }

    /// A task's name, if there is one at `at`.
    fn name(&self, at: u32) -> Option<String> {
        self.left.set(self.left.get().checked_sub(1)?);
        let name = self.kernel.text(VirtAddr::new(at.into()), COMM as usize).ok()?;
        let shown = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        (!name.is_empty() && name.len() < COMM as usize && name.bytes().all(shown)).then_some(name)
    }

    /// Where the name of the first task may stand.
    fn names(&self) -> Option<Vec<u32>> {
        let mut all = Vec::new();
        let _searched = self.kernel.image().search(|at, memory| {
            let words = memory.chunks_exact(WORD as usize).enumerate();
            let begins = words.filter(|(_, word)| *word == b"swap").map(|(nth, _)| nth * 4);
            for offset in begins {
                let rest = &memory[offset..];
                let physical = at.raw() + offset as u64;
                let virt = u32::try_from(physical).ok().and_then(|at| at.checked_add(DIRECT));
                if let Some(virt) = virt
                    && FIRST.iter().any(|name| rest.starts_with(name))
                {
                    all.push(virt);
                }
            }
            None::<()>
        });
        (!all.is_empty()).then_some(all)
    }

    fn shape(&self, names: Vec<u32>) -> Option<Found> {
        for first in names {
            if self.left.get() == 0 {
                return None;
            }
            let distances = (WORD..TASK).step_by(WORD as usize);
            for tasks in distances.filter(|&tasks| self.is_list(first.wrapping_sub(tasks))) {
                if let Some(list) = self.tasks(first, tasks)
                    && list.len() >= FEWEST
                    && let Some(shape) = self.members(&list, tasks)
                {
                    return Some(Found { first, shape });
                }
            }
        }
        None
    }

    /// Whether `at` is a place in a list, of more than itself.
    fn is_list(&self, at: u32) -> bool {
        let next = self.word(at).filter(|&next| next != at);
        let prev = self.word(at.wrapping_add(WORD)).filter(|&prev| prev != at);
        let back = next.and_then(|next| self.word(next.wrapping_add(WORD)));
        back == Some(at) && prev.and_then(|prev| self.word(prev)) == Some(at)
    }

    /// The names of all tasks but the first, if the list leads to names only.
    fn tasks(&self, first: u32, tasks: u32) -> Option<Vec<u32>> {
        let head = first.wrapping_sub(tasks);
        let (mut all, mut at) = (Vec::new(), self.word(head)?);
        while at != head {
            let name = at.wrapping_add(tasks);
            self.name(name)?;
            all.push(name);
            if all.len() > MOST {
                return None;
            }
            at = self.word(at)?;
        }
        Some(all)
    }

    fn members(&self, list: &[u32], tasks: u32) -> Option<Shape> {
        let around = || {
            let before = (0..TASK).step_by(WORD as usize).map(u32::wrapping_neg);
            before.chain((WORD..TASK).step_by(WORD as usize))
        };
        let pid = around().find(|&pid| self.is_pid(list, pid))?;
        let spaces = around().filter_map(|mm| Some((mm, self.spaces(list, mm)?)));
        spaces.into_iter().find_map(|(mm, spaces)| {
            let mut tables = (0..SPACE).step_by(WORD as usize);
            let is_table = |pgd: &u32| spaces.iter().all(|&space| self.table(space, *pgd).is_some());
            let pgd = tables.find(is_table)?;
            Some(Shape { tasks, pid, mm, pgd })
        })
    }

    /// The first process has number 1, the father of the kernel's threads 2;
    /// all differ, and leaders have their own number twice.
    fn is_pid(&self, list: &[u32], pid: u32) -> bool {
        let number = |&name: &u32| {
            let at = name.wrapping_add(pid);
            let number = self.word(at).filter(|number| (1..1 << 22).contains(number))?;
            (self.word(at.wrapping_add(WORD)) == Some(number)).then_some(number)
        };
        let numbers: Option<Vec<u32>> = list.iter().map(number).collect();
        numbers.is_some_and(|numbers| {
            let different: BTreeSet<u32> = numbers.iter().copied().collect();
            numbers.starts_with(&[1, 2]) && different.len() == numbers.len()
        })
    }

    /// The address spaces, if `mm` is where they are: the first process has
    /// one, the second none, and who has one uses it.
    fn spaces(&self, list: &[u32], mm: u32) -> Option<Vec<u32>> {
        let mut spaces = Vec::new();
        for (nth, name) in list.iter().enumerate() {
            let at = name.wrapping_add(mm);
            let (own, used) = (self.word(at)?, self.word(at.wrapping_add(WORD))?);
            if own == 0 {
                continue;
            }
            if own < DIRECT || own != used || nth == 1 {
                return None;
            }
            spaces.push(own);
        }
        (self.word(list.first()?.wrapping_add(mm)) != Some(0)).then_some(spaces)
    }

    /// The top table of a space.
    fn table(&self, space: u32, pgd: u32) -> Option<u64> {
        let table = self.word(space.wrapping_add(pgd))?.checked_sub(DIRECT)?;
        self.roots.contains(&table.into()).then_some(table.into())
    }

    fn process(&self, name: u32, shape: &Shape) -> Option<Process> {
        let space = self.word(name.wrapping_add(shape.mm))?;
        let table = (space != 0).then(|| self.table(space, shape.pgd)).flatten();
        Some(Process {
            pid: self.word(name.wrapping_add(shape.pid))?,
            name: self.name(name)?,
            root: table.map(|table| self.kernel.root_at(foliant_units::PhysAddr::new(table))),
        })
    }
}
