//! The least that a kernel needs to stand on Foliant: a machine of one CPU and
//! 16 MiB, frames, kernel objects behind `alloc`, and kernel addresses.
//!
//! The machine is made up, so that this runs anywhere; a kernel says the same
//! few things about a real one.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

use foliant::kvirt::slab::{Heap, Slab, SlabOptions};
use foliant::kvirt::vmalloc::{Purging, Vmalloc, VmallocRequest};
use foliant::paging::PageTables;
use foliant::phys::{BootOptions, Effort, MemoryMap, Phys};
use foliant::platform::{CpuId, Flush, Nanos};
use foliant::prelude::*;

/// Bytes of RAM.
const RAM: usize = 16 << 20;
/// Where the kernel has room for what is contiguous in its addresses only.
const VMALLOC: VirtRange = VirtRange::new(
    VirtAddr::new(0xffff_c900_0000_0000),
    VirtAddr::new(0xffff_c900_4000_0000),
);

/// The one line that makes `alloc` work, from the first instruction on.
#[global_allocator]
static HEAP: Heap<Machine> = Heap::new();

/// RAM, as a firmware would have it lie around.
#[repr(C, align(4096))]
struct Ram(UnsafeCell<[u8; RAM]>);

// SAFETY: only the memory manager has its address, and it hands out each byte once.
unsafe impl Sync for Ram {}

static MEMORY: Ram = Ram(UnsafeCell::new([0; RAM]));

/// What Foliant has to know about the machine; no bytes, because there is one.
#[derive(Clone)]
struct Machine;

// SAFETY:
// 1. RAM is a static, at consecutive addresses.
// 2. CPUs are not promised to be exclusive: the host's threads all claim to be CPU 0.
unsafe impl Platform for Machine {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        assert!(at.raw() < RAM as u64, "{at:?} is not RAM");
        let first = NonNull::from(&MEMORY.0).cast::<u8>();
        // SAFETY: the offset was checked to lie inside RAM.
        unsafe { first.add(at.raw() as usize) }
    }

    fn has_ram(&self, range: PhysRange) -> bool {
        range.end.raw() <= RAM as u64
    }

    fn cpu(&self) -> CpuId {
        CpuId(0)
    }

    fn cpus(&self) -> u32 {
        1
    }

    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

// SAFETY: this machine never walks its tables, so it caches no translation.
unsafe impl Mmu for Machine {
    type Context = ();
    type Levels = foliant::platform::FourLevels;

    fn context(&self, _root: PhysAddr) -> Result<(), Errno> {
        Ok(())
    }

    fn kernel_context(&self, _root: PhysAddr) -> Result<(), Errno> {
        Ok(())
    }

    fn flush(&self, _context: &(), _what: Flush<'_>) {}
}

/// Memory, up and running.
pub struct Kernel {
    phys: Arc<Phys<Machine>>,
    vmalloc: Vmalloc<Machine>,
}

/// Brings everything up, lowest layer first; to be called once.
///
/// # Errors
/// What was missing, in words.
pub fn bring_up() -> Result<Kernel, &'static str> {
    // 1. Frames, from what the firmware says about memory.
    let map = MemoryMap::ram(PhysRange::new(PhysAddr::ZERO, PhysAddr::new(RAM as u64)));
    let phys = Phys::boot(Machine, &map, BootOptions::default()).map_err(|_| "no memory to manage")?;
    let phys = Arc::new(phys);

    // 2. Objects; from here on, `alloc` is the slab allocator.
    let slab = Slab::new(phys.clone(), SlabOptions::default()).map_err(|_| "no frames for objects")?;
    HEAP.install(slab, Effort::NoWait);

    // 3. Page tables of the kernel, and addresses in them.
    let tables = PageTables::new_kernel(&phys).map_err(|_| "no frames for tables")?;
    let vmalloc = Vmalloc::new(&Arc::new(tables), VMALLOC, Purging::default());
    Ok(Kernel { phys, vmalloc })
}

impl Kernel {
    /// Uses everything once, and tells what it saw.
    ///
    /// # Errors
    /// What did not work, in words.
    pub fn show(&self) -> Result<String, &'static str> {
        let squares: BTreeMap<u64, Box<u64>> = (0..1000).map(|n| (n, Box::new(n * n))).collect();
        let large: Vec<u64> = squares.values().map(|square| **square).collect();
        let stack = self
            .vmalloc
            .alloc(&VmallocRequest::new(64 << 10))
            .map_err(|_| "no addresses")?;
        let behind = self.vmalloc.physical(stack).ok_or("nothing behind an address")?;
        let text = alloc::format!(
            "{} squares, the last is {:?}; {stack:?} is {behind:?}; {} of {} frames are free",
            squares.len(),
            large.last(),
            self.phys.stats().free,
            self.phys.stats().total,
        );
        self.vmalloc
            .free(stack)
            .map_err(|_| "an address that was not ours")?;
        Ok(text)
    }
}
