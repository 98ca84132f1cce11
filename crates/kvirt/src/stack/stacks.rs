//! Making, keeping and naming stacks.

use core::fmt;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::KernelFormat;
use foliant_arch::x86_64::X86_64;
use foliant_phys::Owner;
use foliant_platform::sync::SpinLock;
use foliant_platform::{CpuId, Mmu};
use foliant_units::{PAGE_SIZE, VirtAddr, VirtRange, Vpn};

use super::cache::StackCache;
use super::overflow::StackOverflow;
use crate::caller::Caller;
use crate::vmalloc::{Vmalloc, VmallocError, VmallocRequest};

/// Who runs on a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StackUser {
    /// A task, by its number.
    Task(u32),
    /// Interrupts or exceptions of a CPU, by the kernel's word for them
    /// (`IRQ`, `#DF`, `NMI`, `#DB`, `#MC`).
    Interrupt(&'static str, CpuId),
}

/// A stack, to be [given back](KernelStacks::free). It grows down from its top.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the stack is taken until it is given back"]
pub struct KernelStack {
    range: VirtRange,
}

impl KernelStack {
    /// All of it.
    pub fn range(&self) -> VirtRange {
        self.range
    }

    /// Where the stack pointer begins.
    pub fn top(&self) -> VirtAddr {
        self.range.end
    }
}

/// All stacks of a kernel.
///
/// # Locking
/// Spin locks over the lists of users, for a moment.
///
/// # Linux source concept
/// `CONFIG_VMAP_STACK`: `alloc_thread_stack_node()`, kernel/fork.c.
pub struct KernelStacks<P: Mmu, F: KernelFormat = X86_64> {
    vmalloc: Arc<Vmalloc<P, F>>,
    /// Bytes of a stack.
    size: u64,
    caches: Box<[StackCache]>,
    /// Who runs on which stack, by its first page; spread so that CPUs do not meet.
    users: Box<[Users]>,
}

#[derive(Default)]
#[repr(align(64))]
struct Users(SpinLock<BTreeMap<Vpn, StackUser>>);

impl<P: Mmu, F: KernelFormat> KernelStacks<P, F> {
    /// Stacks of `pages` pages, a power of two (`THREAD_SIZE` is four on x86-64).
    pub fn new(vmalloc: &Arc<Vmalloc<P, F>>, pages: u32) -> Self {
        let cpus = vmalloc.tables().phys().platform().cpus();
        Self {
            vmalloc: vmalloc.clone(),
            size: u64::from(pages.max(1).next_power_of_two()) * PAGE_SIZE as u64,
            caches: (0..cpus).map(|_| StackCache::default()).collect(),
            users: (0..cpus).map(|_| Users::default()).collect(),
        }
    }

    /// A stack of zeroes for `user`: one that a task of this CPU left, or a new one.
    ///
    /// # Errors
    /// No memory, or no addresses.
    pub fn alloc(&self, user: StackUser) -> Result<KernelStack, VmallocError> {
        let kept = self.cache().take();
        let base = match kept {
            Some(base) => {
                self.clear(base);
                base
            }
            None => {
                let request = VmallocRequest::new(self.size)
                    .zeroed()
                    .align(self.size)
                    .owner(Owner::Stack)
                    .caller(Caller::named("kernel_stack"));
                self.vmalloc.alloc(&request)?
            }
        };
        self.users_of(base.page()).0.lock().insert(base.page(), user);
        Ok(self.stack_at(base))
    }

    /// Takes a stack back: into this CPU's cache, or its memory back.
    pub fn free(&self, stack: KernelStack) {
        let base = stack.range.start;
        self.users_of(base.page()).0.lock().remove(&base.page());
        if let Err(base) = self.cache().keep(base) {
            self.release(base);
        }
    }

    /// Gives the memory of cached stacks back (`free_vm_stack_cache()`).
    ///
    /// # Linux source concept
    /// There for a CPU that goes off-line.
    pub fn drain(&self) {
        for cache in &self.caches {
            while let Some(base) = cache.take() {
                self.release(base);
            }
        }
    }

    /// Whose stack overflowed, if a fault at `at` is an overflow.
    ///
    /// # Linux source concept
    /// `get_stack_guard_info()`.
    pub fn overflow(&self, at: VirtAddr) -> Option<StackOverflow> {
        let above = at.page().checked_add(1)?;
        let user = *self.users_of(above).0.lock().get(&above)?;
        Some(StackOverflow {
            at,
            stack: self.stack_at(above.base()).range,
            user,
        })
    }

    /// Bytes of all stacks in use (`KernelStack`).
    pub fn bytes(&self) -> u64 {
        let stacks: usize = self.users.iter().map(|users| users.0.lock().len()).sum();
        stacks as u64 * self.size
    }

    /// Stacks that wait for a task.
    pub fn cached(&self) -> usize {
        self.caches.iter().map(StackCache::len).sum()
    }

    fn cache(&self) -> &StackCache {
        let cpu = self.vmalloc.tables().phys().platform().cpu();
        &self.caches[cpu.index() % self.caches.len()]
    }

    fn users_of(&self, first: Vpn) -> &Users {
        let number = first.base().raw() / self.size / 2;
        &self.users[number as usize % self.users.len()]
    }

    fn stack_at(&self, base: VirtAddr) -> KernelStack {
        KernelStack {
            range: VirtRange::new(base, base + self.size),
        }
    }

    /// Nothing of the last user is left for the next.
    fn clear(&self, base: VirtAddr) {
        let phys = self.vmalloc.tables().phys();
        for at in (0..self.size).step_by(PAGE_SIZE) {
            if let Some(place) = self.vmalloc.physical(base + at) {
                phys.content(place.frame()).zero();
            }
        }
    }

    fn release(&self, base: VirtAddr) {
        let freed = self.vmalloc.free(base);
        debug_assert!(freed.is_ok(), "the stack at {base:?} was not ours");
    }
}

impl<P: Mmu, F: KernelFormat> Drop for KernelStacks<P, F> {
    fn drop(&mut self) {
        self.drain();
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for KernelStacks<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel stacks, {} bytes in use", self.bytes())
    }
}

/// The stacks that each CPU takes interrupts and exceptions on.
///
/// # Linux source concept
/// `irq_init_percpu_irqstack()`, the exception stacks of the CPU entry area.
#[derive(Debug)]
pub struct InterruptStacks<P: Mmu, F: KernelFormat = X86_64> {
    stacks: Arc<KernelStacks<P, F>>,
    /// CPU by CPU, in the order of `kinds`.
    all: Vec<KernelStack>,
    kinds: &'static [&'static str],
}

impl<P: Mmu, F: KernelFormat> InterruptStacks<P, F> {
    /// The kinds of x86-64.
    pub const X86_64: &'static [&'static str] = &["IRQ", "#DF", "NMI", "#DB", "#MC"];

    /// One stack of each kind for each CPU.
    ///
    /// # Errors
    /// No memory, or no addresses; nothing is kept.
    pub fn new(
        stacks: &Arc<KernelStacks<P, F>>,
        kinds: &'static [&'static str],
    ) -> Result<Self, VmallocError> {
        let cpus = stacks.vmalloc.tables().phys().platform().cpus();
        let mut made = Self {
            stacks: stacks.clone(),
            all: Vec::new(),
            kinds,
        };
        for cpu in (0..cpus).map(CpuId) {
            for kind in kinds {
                let stack = stacks.alloc(StackUser::Interrupt(kind, cpu))?;
                made.all.push(stack);
            }
        }
        Ok(made)
    }

    /// The stack of one kind of one CPU.
    pub fn of(&self, cpu: CpuId, kind: &str) -> Option<&KernelStack> {
        let place = self.kinds.iter().position(|&name| name == kind)?;
        self.all.get(cpu.index() * self.kinds.len() + place)
    }
}

impl<P: Mmu, F: KernelFormat> Drop for InterruptStacks<P, F> {
    fn drop(&mut self) {
        self.all.drain(..).for_each(|stack| self.stacks.free(stack));
    }
}
