//! A machine for benchmarks: memory that is never freed.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use foliant_phys::{BootOptions, MemoryMap, Phys};
use foliant_platform::{CpuId, Flush, Mmu, Nanos, Platform};
use foliant_units::{Errno, PhysAddr, PhysRange};
use rustix::mm::{Advice, madvise};

use crate::frames::FRAMES;

/// CPUs that a benchmark may use.
const CPUS: u32 = 4;
/// RAM for the allocator's own tables, on top of the frames.
const TABLES: usize = 32 << 20;
/// Bytes of a large page of the host.
const LARGE: usize = 2 << 20;
/// Bytes of RAM.
const RAM: usize = FRAMES * 4096 + TABLES;

std::thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
}

/// RAM that lives as long as the process, and CPUs that threads take for
/// themselves by a number: what bare metal is like, without its interrupts.
#[derive(Clone)]
pub(crate) struct Machine(NonNull<u8>);

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
        debug_assert!(at.raw() < RAM as u64, "inside RAM");
        // SAFETY: the address is inside RAM, which the caller promises, as it
        // must where RAM is mapped directly: no kernel looks at each access.
        unsafe { self.0.add(at.raw() as usize) }
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        range.end.raw() <= RAM as u64
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

// SAFETY: nothing walks these tables, so no translation is ever cached: what
// flushes cost is another question than what tables cost.
unsafe impl Mmu for Machine {
    type Context = ();
    type Levels = foliant_platform::FourLevels;

    fn context(&self, _root: PhysAddr) -> Result<(), Errno> {
        Ok(())
    }

    fn kernel_context(&self, _root: PhysAddr) -> Result<(), Errno> {
        Ok(())
    }

    fn flush(&self, _context: &(), _what: Flush<'_>) {}
}

/// Puts this thread on a CPU.
pub(crate) fn on_cpu(cpu: usize) {
    CPU.set(cpu as u32);
}

/// Boots a machine.
pub(crate) fn boot() -> Phys<Machine> {
    let Ok(layout) = Layout::from_size_align(RAM + LARGE, 16) else {
        panic!("no host has so much memory");
    };
    // SAFETY: the layout is not empty.
    let Some(block) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
        handle_alloc_error(layout)
    };
    // SAFETY: a large page to align is part of the allocation.
    let machine = Machine(unsafe { block.add(block.align_offset(LARGE)) });
    // A kernel maps its RAM with large pages; a host that has none to give is no
    // reason to fail.
    // SAFETY: the range is part of the allocation, whose contents stay as they are.
    let _ = unsafe { madvise(machine.0.as_ptr().cast(), RAM, Advice::LinuxHugepage) };
    let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(RAM as u64));
    let options = BootOptions {
        ram_is_zeroed: true,
        ..BootOptions::default()
    };
    match Phys::boot(machine, &MemoryMap::ram(ram), options) {
        Ok(phys) => phys,
        Err(error) => panic!("{error}"),
    }
}
