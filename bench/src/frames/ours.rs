//! Foliant's allocator, on CPUs that are threads.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use foliant_phys::{AllocRequest, BootOptions, Frame, MemoryMap, Owner, Phys};
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{Order, Pfn, PhysAddr, PhysRange};

use super::{Allocator, FRAMES};

/// CPUs that a benchmark may use.
const CPUS: u32 = 4;
/// RAM for the allocator's own tables, on top of the frames.
const TABLES: usize = 32 << 20;

std::thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
}

/// RAM that lives as long as the process, and CPUs that threads take for
/// themselves by a number: what bare metal is like, without its interrupts.
#[derive(Clone)]
struct Machine(NonNull<u8>);

// SAFETY: an address of memory that is never freed.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

// SAFETY:
// 1. RAM is one allocation that is never freed.
// 2. The benchmarks give each running thread a CPU of its own.
unsafe impl Platform for Machine {
    const CPU_IS_EXCLUSIVE: bool = true;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        assert!(at.raw() < (FRAMES * 4096 + TABLES) as u64);
        // SAFETY: the offset lies inside the allocation.
        unsafe { self.0.add(at.raw() as usize) }
    }

    fn cpu(&self) -> CpuId {
        CpuId(CPU.get())
    }

    fn cpus(&self) -> u32 {
        CPUS
    }

    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

/// Foliant's allocator with its watermarks, statistics and reference counts.
pub(super) struct Ours(Phys<Machine>);

impl Ours {
    pub(super) fn new() -> Self {
        let bytes = FRAMES * 4096 + TABLES;
        let Ok(layout) = Layout::from_size_align(bytes + 4096, 16) else {
            panic!("no host has so much memory");
        };
        // SAFETY: the layout is not empty.
        let Some(block) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        // SAFETY: a page to align is part of the allocation.
        let machine = Machine(unsafe { block.add(block.align_offset(4096)) });
        let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(bytes as u64));
        let options = BootOptions {
            ram_is_zeroed: true,
            ..BootOptions::default()
        };
        match Phys::boot(machine, &MemoryMap::ram(ram), options) {
            Ok(phys) => Self(phys),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Allocator for Ours {
    fn name(&self) -> &'static str {
        "foliant"
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        let request = AllocRequest::movable(Owner::Anonymous).order(order).silent();
        self.0
            .alloc(request)
            .ok()
            .map(|frame| Frame::into_pfn(frame).index())
    }

    fn free(&self, at: usize, _: Order) {
        drop(self.0.adopt(Pfn::new(at as u64)));
    }

    fn on_cpu(&self, cpu: usize) {
        CPU.set(cpu as u32);
    }

    fn settle(&self) {
        self.0.drain_all();
    }
}
