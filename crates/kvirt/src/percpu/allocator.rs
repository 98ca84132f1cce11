//! The allocator.

use core::fmt;

use alloc::sync::Arc;

use foliant_arch::KernelFormat;
use foliant_arch::x86_64::X86_64;
use foliant_phys::Owner;
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_platform::{CpuId, Mmu};
use foliant_units::{PAGE_SIZE, VirtAddr};

use super::chunk_map::{ChunkMap, GRANULE};
use super::chunks::{Chunks, PerCpuStats};
use super::request::{FirstChunk, From, PerCpuError, PerCpuPtr, PerCpuRequest};
use crate::caller::Caller;
use crate::vmalloc::{Vmalloc, VmallocRequest};

/// Bytes of the smallest unit (`PCPU_MIN_UNIT_SIZE`): no allocation is larger.
const LEAST_UNIT: u64 = 32 << 10;

/// Memory that every CPU has a copy of.
///
/// # Locking
/// A spin lock over the chunks, for a search; a sleeping lock for those who
/// make or give back chunks, which is never wanted by
/// [atomic](PerCpuRequest::atomic) requests and by [`free`](Self::free).
///
/// # Linux source concept
/// mm/percpu.c. Differs: a chunk has all its pages from the start.
pub struct PerCpu<P: Mmu, F: KernelFormat = X86_64> {
    vmalloc: Arc<Vmalloc<P, F>>,
    cpus: u64,
    /// Bytes of a unit.
    unit: u64,
    /// Where the static variables are.
    first: VirtAddr,
    statics: u64,
    chunks: SpinLock<Chunks>,
    changing: Mutex<()>,
}

impl<P: Mmu, F: KernelFormat> PerCpu<P, F> {
    /// The first chunk, with the static variables of every CPU as in `first`.
    ///
    /// # Errors
    /// [`PerCpuError::NoChunk`].
    ///
    /// # Linux source concept
    /// `pcpu_setup_first_chunk()`, `pcpu_page_first_chunk()`.
    pub fn new(vmalloc: &Arc<Vmalloc<P, F>>, first: FirstChunk<'_>) -> Result<Self, PerCpuError> {
        let statics = (first.image.len() as u64).next_multiple_of(GRANULE);
        let reserved = first.reserved.next_multiple_of(GRANULE);
        let unit = (statics + reserved + first.dynamic)
            .next_multiple_of(PAGE_SIZE as u64)
            .max(LEAST_UNIT);
        let mut made = Self {
            vmalloc: vmalloc.clone(),
            cpus: u64::from(vmalloc.tables().phys().platform().cpus()),
            unit,
            first: VirtAddr::ZERO,
            statics,
            chunks: SpinLock::new(Chunks::default()),
            changing: Mutex::new(()),
        };
        made.first = made.map_chunk()?;

        let granules = |bytes: u64| (bytes / GRANULE) as usize;
        let (end, all) = (granules(statics + reserved), granules(unit));
        let chunks = made.chunks.get_mut();
        chunks.add(made.first, ChunkMap::new(all, end..all), true);
        chunks.set_reserved(made.first, ChunkMap::new(all, granules(statics)..end));
        for cpu in 0..made.cpus {
            made.write(made.first + cpu * unit, first.image);
        }
        Ok(made)
    }

    /// Zeroed memory on every CPU.
    ///
    /// # Errors
    /// See [`PerCpuError`].
    ///
    /// # Linux source concept
    /// `__alloc_percpu_gfp()`, `__alloc_reserved_percpu()`.
    pub fn alloc(&self, request: &PerCpuRequest) -> Result<PerCpuPtr, PerCpuError> {
        let legal = request.size != 0
            && request.size <= LEAST_UNIT
            && request.align.is_power_of_two()
            && request.align <= PAGE_SIZE as u64;
        if !legal {
            return Err(PerCpuError::Illegal);
        }
        let count = request.size.div_ceil(GRANULE) as usize;
        let align = (request.align / GRANULE).max(1) as usize;
        let at = match request.from {
            From::Reserved => self.chunks.lock().take_reserved(count, align),
            From::Dynamic => self.chunks.lock().take(count, align),
        };
        let at = match at {
            Some(at) => at,
            None if request.from == From::Reserved || !request.effort.may_sleep() => {
                return Err(PerCpuError::NoRoom);
            }
            None => self.take_with_new_chunk(count, align)?,
        };
        for cpu in 0..self.cpus {
            self.zero(at + cpu * self.unit, count as u64 * GRANULE);
        }
        Ok(PerCpuPtr(at))
    }

    /// Gives memory back on every CPU. Never waits.
    ///
    /// # Errors
    /// [`PerCpuError::NotAllocated`].
    ///
    /// # Linux source concept
    /// `free_percpu()`.
    pub fn free(&self, memory: PerCpuPtr) -> Result<(), PerCpuError> {
        let given = self.chunks.lock().give(memory.0);
        given.ok_or(PerCpuError::NotAllocated)
    }

    /// Where `cpu` has its copy (`per_cpu_ptr()`).
    pub fn address(&self, memory: PerCpuPtr, cpu: CpuId) -> VirtAddr {
        debug_assert!(u64::from(cpu.0) < self.cpus, "{cpu:?} is not in this machine");
        memory.0 + u64::from(cpu.0) * self.unit
    }

    /// The static variable at `offset` of the image.
    pub fn static_at(&self, offset: u64) -> Option<PerCpuPtr> {
        (offset < self.statics).then(|| PerCpuPtr(self.first + offset))
    }

    /// Keeps enough room for requests that cannot wait, and gives back the
    /// memory of chunks that nothing is in. To be called now and then from
    /// where waiting is allowed.
    ///
    /// # Errors
    /// There is too little room, and no memory for a chunk.
    ///
    /// # Linux source concept
    /// `pcpu_balance_workfn()`.
    pub fn balance(&self) -> Result<(), PerCpuError> {
        let _changing = self.changing.lock();
        for base in self.chunks.lock().take_empty() {
            self.release(base);
        }
        if self.chunks.lock().free_bytes() < self.unit / 2 {
            self.grow()?;
        }
        Ok(())
    }

    /// Counts of allocations and chunks.
    pub fn stats(&self) -> PerCpuStats {
        self.chunks.lock().stats
    }

    /// Bytes of all units of all chunks (`Percpu` of `/proc/meminfo`).
    ///
    /// # Linux source concept
    /// `pcpu_nr_pages()`.
    pub fn bytes(&self) -> u64 {
        self.stats().nr_chunks * self.cpus * self.unit
    }

    fn take_with_new_chunk(&self, count: usize, align: usize) -> Result<VirtAddr, PerCpuError> {
        let _changing = self.changing.lock();
        loop {
            // Somebody else may have made one while we waited.
            if let Some(at) = self.chunks.lock().take(count, align) {
                return Ok(at);
            }
            self.grow()?;
        }
    }

    fn grow(&self) -> Result<(), PerCpuError> {
        let base = self.map_chunk()?;
        let granules = (self.unit / GRANULE) as usize;
        let map = ChunkMap::new(granules, 0..granules);
        self.chunks.lock().add(base, map, false);
        Ok(())
    }

    fn map_chunk(&self) -> Result<VirtAddr, PerCpuError> {
        let request = VmallocRequest::new(self.cpus * self.unit)
            .owner(Owner::PerCpu)
            .caller(Caller::named("pcpu_create_chunk"));
        self.vmalloc
            .alloc(&request.zeroed())
            .map_err(PerCpuError::NoChunk)
    }

    fn release(&self, base: VirtAddr) {
        let freed = self.vmalloc.free(base);
        debug_assert!(freed.is_ok(), "the chunk at {base:?} was not ours");
    }

    /// Calls `work` with the frame, the offset in it, and the part of
    /// `0..len` that lies in it.
    fn each_page(
        &self,
        at: VirtAddr,
        len: u64,
        mut work: impl FnMut(foliant_phys::Content<'_>, usize, usize, usize),
    ) {
        let phys = self.vmalloc.tables().phys();
        let mut done = 0;
        while done < len {
            let here = at + done;
            let part = (PAGE_SIZE - here.offset()).min((len - done) as usize);
            if let Some(place) = self.vmalloc.physical(here) {
                work(phys.content(place.frame()), here.offset(), done as usize, part);
            }
            done += part as u64;
        }
    }

    fn zero(&self, at: VirtAddr, len: u64) {
        self.each_page(at, len, |content, offset, _, part| content.fill(offset, part, 0));
    }

    pub(super) fn write(&self, at: VirtAddr, bytes: &[u8]) {
        self.each_page(at, bytes.len() as u64, |content, offset, done, part| {
            content.write(offset, &bytes[done..done + part]);
        });
    }
}

impl<P: Mmu, F: KernelFormat> Drop for PerCpu<P, F> {
    fn drop(&mut self) {
        for base in self.chunks.get_mut().take_all() {
            let freed = self.vmalloc.free(base);
            debug_assert!(freed.is_ok(), "the chunk at {base:?} was not ours");
        }
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for PerCpu<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "per-CPU memory, {} bytes", self.bytes())
    }
}
