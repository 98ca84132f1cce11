//! A machine for tests: RAM on the heap, CPUs that threads take in turn.
//!
//! Threads bind themselves to a CPU with [`TestPlatform::on_cpu`]; a thread
//! that did not is on CPU 0. With `EXCLUSIVE`, a CPU is taken by
//! [`preempt_off`](Platform::preempt_off) and given back by the matching
//! [`preempt_on`](Platform::preempt_on), so the promise holds however many
//! threads share a CPU; without it threads may meet on a CPU at any
//! instruction, as the threads of a host do.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::boxed::Box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use std::vec::Vec;

use foliant_units::{Errno, PAGE_SIZE, PhysAddr, PhysRange, VpnRange};

use crate::mmu::{Flush, FlushKind, Mmu};
use crate::platform::{CpuId, Nanos, Platform};

/// RAM starts at a multiple of this, so that large pages of the host can back it.
const ALIGN: usize = 2 << 20;

std::thread_local! {
    /// The CPU this thread bound itself to; its address also names the thread.
    static BOUND: Cell<u32> = const { Cell::new(0) };
}

/// RAM from physical address zero up, and some CPUs. A cheap handle.
#[derive(Debug)]
pub struct TestPlatform<const EXCLUSIVE: bool = true>(Arc<Machine>);

struct Machine {
    /// What the RAM is part of, and is given back with the machine.
    _owner: Box<dyn Send + Sync>,
    /// The first byte of RAM, 2 MiB aligned.
    ram: NonNull<u8>,
    bytes: usize,
    cpus: Vec<Cpu>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Cpu {
    /// The thread that turned preemption off here, zero if none did.
    owner: AtomicUsize,
    /// How many times it did; written by the owner alone.
    depth: AtomicU32,
}

// SAFETY: the machine owns its RAM, and hands out nothing but its address.
unsafe impl Send for Machine {}
// SAFETY: as above; everything else in it is `Sync`.
unsafe impl Sync for Machine {}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "machine with {} bytes and {} CPUs",
            self.bytes,
            self.cpus.len()
        )
    }
}

/// What the host's allocator gave, with room to align.
struct HeapBlock {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is only freed through this, and nothing is read through it.
unsafe impl Send for HeapBlock {}
// SAFETY: as above.
unsafe impl Sync for HeapBlock {}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        // SAFETY: allocated in `TestPlatform::new` with this layout, freed once.
        unsafe { dealloc(self.first.as_ptr(), self.layout) }
    }
}

impl<const EXCLUSIVE: bool> Clone for TestPlatform<EXCLUSIVE> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const EXCLUSIVE: bool> TestPlatform<EXCLUSIVE> {
    /// A machine with zeroed RAM at physical `0..bytes` (rounded up to frames),
    /// which the host provides only as it is touched, and `cpus` CPUs (at least one).
    pub fn new(bytes: usize, cpus: u32) -> Self {
        let bytes = bytes.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
        // Aligned by hand: asked for alignment, the standard library would
        // zero the memory itself and so touch all of it.
        let Ok(layout) = Layout::from_size_align(bytes + ALIGN, 16) else {
            panic!("no host has {bytes} bytes of RAM");
        };
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the offset is below `ALIGN`, which the allocation has to spare.
        let ram = unsafe { block.add(block.align_offset(ALIGN)) };
        let owner = Box::new(HeapBlock { first: block, layout });
        // SAFETY: the block has `bytes` bytes from there and is freed with its owner.
        unsafe { Self::over(ram, bytes, cpus, owner) }
    }

    /// A machine whose RAM at physical `0..bytes`, whole frames, lies at `ram`.
    ///
    /// # Safety
    /// From `ram` on there are `bytes` bytes that may be read and written, that
    /// nobody else uses, and that stay until `owner` is dropped.
    pub unsafe fn over(ram: NonNull<u8>, bytes: usize, cpus: u32, owner: Box<dyn Send + Sync>) -> Self {
        Self(Arc::new(Machine {
            _owner: owner,
            ram,
            bytes,
            cpus: (0..cpus.max(1)).map(|_| Cpu::default()).collect(),
            started: Instant::now(),
        }))
    }

    /// Where RAM lies in the physical address space.
    pub fn memory(&self) -> PhysRange {
        PhysRange::new(PhysAddr::ZERO, PhysAddr::new(self.0.bytes as u64))
    }

    /// Runs `work` with this thread on `cpu`.
    pub fn on_cpu<R>(&self, cpu: CpuId, work: impl FnOnce() -> R) -> R {
        assert!(cpu.index() < self.0.cpus.len(), "{cpu:?} is not in this machine");
        let before = BOUND.replace(cpu.0);
        let result = work();
        BOUND.set(before);
        result
    }

    fn this_cpu(&self) -> &Cpu {
        &self.0.cpus[self.cpu().index()]
    }
}

fn this_thread() -> usize {
    BOUND.with(|bound| core::ptr::from_ref(bound).addr())
}

// SAFETY:
// 1. RAM is one allocation that lives as long as any clone, at consecutive
//    addresses.
// 2. `preempt_off` waits until this thread alone owns its CPU, and a thread
//    cannot change its CPU's number from inside (`on_cpu` around it would
//    change `cpu`, which a caller with preemption off does not do).
unsafe impl<const EXCLUSIVE: bool> Platform for TestPlatform<EXCLUSIVE> {
    const CPU_IS_EXCLUSIVE: bool = EXCLUSIVE;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        assert!(self.memory().contains(at), "{at:?} is not RAM");
        // SAFETY: the offset was checked to lie inside the allocation.
        unsafe { self.0.ram.add(at.raw() as usize) }
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        self.memory().covers(range)
    }

    fn cpu(&self) -> CpuId {
        CpuId(BOUND.get() % self.cpus())
    }

    fn cpus(&self) -> u32 {
        self.0.cpus.len() as u32
    }

    fn preempt_off(&self) {
        if !EXCLUSIVE {
            return;
        }
        let cpu = self.this_cpu();
        let me = this_thread();
        let mut spins = 0;
        while cpu.owner.load(Ordering::Relaxed) != me
            && cpu
                .owner
                .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            crate::sync::relax(&mut spins);
        }
        cpu.depth
            .store(cpu.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn preempt_on(&self) {
        if !EXCLUSIVE {
            return;
        }
        let cpu = self.this_cpu();
        let depth = cpu.depth.load(Ordering::Relaxed) - 1;
        cpu.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            cpu.owner.store(0, Ordering::Release);
        }
    }

    fn now(&self) -> Nanos {
        Nanos(self.0.started.elapsed().as_nanos() as u64)
    }
}

/// One flush, as the test platform saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flushed {
    /// The pages.
    pub ranges: Vec<VpnRange>,
    /// What had become of their translations.
    pub kind: FlushKind,
    /// Whether tables had been unlinked.
    pub tables_freed: bool,
}

/// A space as the test platform knows it: its root and the flushes it was asked for.
#[derive(Debug)]
pub struct TestContext {
    root: PhysAddr,
    flushes: Mutex<Vec<Flushed>>,
}

impl TestContext {
    /// The space's top table.
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// Takes the record of flushes since the last call.
    pub fn take_flushes(&self) -> Vec<Flushed> {
        core::mem::take(&mut self.flushes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// SAFETY: this machine has no translation caches, so none is ever stale.
unsafe impl<const EXCLUSIVE: bool> Mmu for TestPlatform<EXCLUSIVE> {
    type Context = TestContext;
    type Levels = crate::mmu::FourLevels;

    fn context(&self, root: PhysAddr) -> Result<TestContext, Errno> {
        Ok(TestContext {
            root,
            flushes: Mutex::default(),
        })
    }

    fn kernel_context(&self, root: PhysAddr) -> Result<TestContext, Errno> {
        self.context(root)
    }

    fn flush(&self, context: &TestContext, what: Flush<'_>) {
        context
            .flushes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Flushed {
                ranges: what.ranges.to_vec(),
                kind: what.kind,
                tables_freed: what.tables_freed,
            });
    }
}
