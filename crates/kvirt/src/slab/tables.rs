//! What caches need for each CPU, in frames of the machine: so that a heap can
//! be built on caches, they need none.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use alloc::sync::Arc;

use foliant_phys::{AllocRequest, Owner, Phys};
use foliant_platform::Platform;
use foliant_units::{Order, PAGE_SIZE, Pfn};

use super::cpu::CpuArea;
use super::depot::Depot;
use super::shard::{MOST_SHARDS, Shard};
use super::spec::SlabError;

/// CPU areas, shards and depots of some caches that are made together.
pub(crate) struct Tables<P: Platform> {
    phys: Arc<Phys<P>>,
    first: Pfn,
    caches: usize,
    cpus: usize,
    shards: usize,
    areas: NonNull<CpuArea>,
    lists: NonNull<Shard>,
    depots: NonNull<Depot>,
}

// SAFETY: atomics and locks all through, shared by reference.
unsafe impl<P: Platform> Send for Tables<P> {}
// SAFETY: as above.
unsafe impl<P: Platform> Sync for Tables<P> {}

impl<P: Platform> Tables<P> {
    /// For `caches` caches on all CPUs of the machine.
    pub(crate) fn new(phys: &Arc<Phys<P>>, caches: usize) -> Result<Arc<Self>, SlabError> {
        let cpus = phys.platform().cpus().max(1) as usize;
        let shards = cpus.min(MOST_SHARDS);
        let lists = caches * cpus * size_of::<CpuArea>();
        let lists = lists.next_multiple_of(align_of::<Shard>());
        let depots = lists + caches * shards * size_of::<Shard>();
        let bytes = depots + caches * size_of::<Depot>();

        let order = Order::covering(bytes.div_ceil(PAGE_SIZE) as u64).ok_or(SlabError::TooLarge)?;
        let frame = phys.alloc(AllocRequest::kernel(Owner::Slab).order(order))?;
        let start = phys.platform().ram(frame.pfn().base());
        // SAFETY: both lie inside the folio, whose size was computed from them;
        // the offsets are multiples of the types' alignments.
        let (lists, depots) = unsafe { (start.add(lists), start.add(depots)) };
        let tables = Self {
            phys: phys.clone(),
            first: frame.into_pfn(),
            caches,
            cpus,
            shards,
            areas: start.cast(),
            lists: lists.cast(),
            depots: depots.cast(),
        };
        tables.fill();
        Ok(Arc::new(tables))
    }

    /// The first frame that they are in.
    pub(crate) fn first(&self) -> Pfn {
        self.first
    }

    /// Makes every element.
    fn fill(&self) {
        for at in 0..self.caches * self.cpus {
            // SAFETY: the folio is ours alone and has room for them.
            unsafe { self.areas.add(at).write(CpuArea::default()) }
        }
        for at in 0..self.caches * self.shards {
            // SAFETY: as above.
            unsafe { self.lists.add(at).write(Shard::default()) }
        }
        for at in 0..self.caches {
            // SAFETY: as above.
            unsafe { self.depots.add(at).write(Depot::default()) }
        }
    }
}

impl<P: Platform> Drop for Tables<P> {
    fn drop(&mut self) {
        // The elements have nothing to drop.
        drop(self.phys.adopt(self.first));
    }
}

/// One cache's part of the tables.
#[repr(C)]
pub(crate) struct Part<P: Platform> {
    areas: NonNull<CpuArea>,
    /// Bytes from one CPU's area to the next one's.
    step: usize,
    cpus: usize,
    lists: NonNull<Shard>,
    shards: usize,
    depot: NonNull<Depot>,
    /// Keeps all of them.
    _tables: Arc<Tables<P>>,
}

// SAFETY: the tables may be shared, and these point into them.
unsafe impl<P: Platform> Send for Part<P> {}
// SAFETY: as above.
unsafe impl<P: Platform> Sync for Part<P> {}

impl<P: Platform> Part<P> {
    /// The part of the cache with this place among those that share the tables.
    pub(crate) fn new(tables: Arc<Tables<P>>, at: usize) -> Self {
        assert!(at < tables.caches, "the tables are for {} caches", tables.caches);
        // SAFETY: `at` was checked, and each table has an element for it.
        let (areas, depot) = unsafe { (tables.areas.add(at), tables.depots.add(at)) };
        // SAFETY: as above, with a stretch of shards for each cache.
        let lists = unsafe { tables.lists.add(at * tables.shards) };
        Self {
            areas,
            step: tables.caches * size_of::<CpuArea>(),
            cpus: tables.cpus,
            lists,
            shards: tables.shards,
            depot,
            _tables: tables,
        }
    }

    /// What a CPU has; every CPU of the machine has something.
    #[inline]
    pub(crate) fn area(&self, cpu: usize) -> &CpuArea {
        if cpu >= self.cpus {
            no_such_cpu(cpu);
        }
        // SAFETY: `cpu` was checked; areas of one CPU lie together, so the next
        // CPU's is as many further as there are caches. The tables live as long
        // as the part, and their elements were made.
        unsafe { self.areas.byte_add(cpu * self.step).as_ref() }
    }

    /// All shards.
    #[inline]
    pub(crate) fn shards(&self) -> &[Shard] {
        // SAFETY: each cache has as many, one after the other, made by `fill`.
        unsafe { NonNull::slice_from_raw_parts(self.lists, self.shards).as_ref() }
    }

    /// The shard of a CPU.
    #[inline]
    pub(crate) fn shard_of(&self, cpu: usize) -> usize {
        cpu % self.shards
    }

    /// What lies between the CPUs.
    #[inline]
    pub(crate) fn depot(&self) -> &Depot {
        // SAFETY: made by `fill`, and lives as long as the tables.
        unsafe { self.depot.as_ref() }
    }

    /// How many CPUs there are.
    pub(crate) fn cpus(&self) -> usize {
        self.cpus
    }
}

#[cold]
fn no_such_cpu(cpu: usize) -> ! {
    panic!("CPU {cpu} is not in this machine")
}
