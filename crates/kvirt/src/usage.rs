//! What a kernel takes of its machine's memory for itself, as `/proc` counts it.

use foliant_arch::{KernelFormat, Level};
use foliant_platform::{Mmu, Platform};
use foliant_uapi::text::{Counters, Meminfo, Slabinfo, Vmallocinfo};
use foliant_units::PAGE_SIZE;

use crate::direct::FollowingMap;
use crate::percpu::PerCpu;
use crate::slab::{Account, Slab};
use crate::stack::KernelStacks;
use crate::vmalloc::Vmalloc;

const PAGE: u64 = PAGE_SIZE as u64;
const KIB: u64 = 1024;
const DIRECT_SIZES: [u64; 4] = [4 << 10, 2 << 20, 4 << 20, 1 << 30];

/// The kernel's own memory at some moment. The default is that of a kernel
/// whose objects live elsewhere than in the machine's memory.
///
/// # Units
/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelMemory {
    /// Slabs of caches that can be shrunk when memory is short.
    pub slab_reclaimable: u64,
    /// All other slabs, and kmalloc beyond the largest class.
    pub slab_unreclaimable: u64,
    /// Stacks of tasks.
    pub stacks: u64,
    /// Frames in vmalloc areas.
    pub vmalloc: u64,
    /// Chunks of per-CPU memory.
    pub per_cpu: u64,
    /// Memory in the direct map by the size of its pages: 4 KiB, 2 MiB, 4 MiB
    /// and 1 GiB; nothing for sizes that its tables do not have.
    pub direct_map: [Option<u64>; DIRECT_SIZES.len()],
    /// Large pages of the direct map that were made smaller: those of the level
    /// above the base pages, and those of the next.
    pub direct_splits: [u64; 2],
    /// The caches, one by one.
    pub slabinfo: Slabinfo,
    /// The vmalloc areas, one by one.
    pub vmallocinfo: Vmallocinfo,
}

impl KernelMemory {
    /// Counts an object allocator.
    pub fn with_slab<P: Platform>(mut self, slab: &Slab<P>) -> Self {
        slab.each_cache(|cache| {
            let info = cache.info();
            let bytes = info.slabs * u64::from(info.pages_per_slab) * PAGE;
            match cache.account {
                Account::Reclaimable => self.slab_reclaimable += bytes,
                Account::Unreclaimable => self.slab_unreclaimable += bytes,
            }
        });
        self.slab_unreclaimable += slab.large_frames() * PAGE;
        self.slabinfo.caches.extend(slab.info().caches);
        self
    }

    /// Counts vmalloc areas.
    pub fn with_vmalloc<P: Mmu, F: KernelFormat>(mut self, vmalloc: &Vmalloc<P, F>) -> Self {
        self.vmalloc += vmalloc.stats().used;
        self.vmallocinfo.areas.extend(vmalloc.vmallocinfo().areas);
        self
    }

    /// Counts stacks. (Their frames are vmalloc's, too, as on Linux.)
    pub fn with_stacks<P: Mmu, F: KernelFormat>(mut self, stacks: &KernelStacks<P, F>) -> Self {
        self.stacks += stacks.bytes();
        self
    }

    /// Counts per-CPU memory. (So are its.)
    pub fn with_per_cpu<P: Mmu, F: KernelFormat>(mut self, per_cpu: &PerCpu<P, F>) -> Self {
        self.per_cpu += per_cpu.bytes();
        self
    }

    /// Counts what the direct map shows.
    pub fn with_direct_map<P: Mmu, F: KernelFormat>(mut self, map: &FollowingMap<P, F>) -> Self {
        let geometry = &F::GEOMETRY;
        for level in Level::all().filter(|&level| !geometry.is_folded(level) && geometry.can_be_leaf(level)) {
            let size = DIRECT_SIZES
                .into_iter()
                .position(|size| size == geometry.entry_span(level));
            if let Some(bytes) = size.and_then(|at| self.direct_map.get_mut(at)) {
                *bytes = Some(bytes.unwrap_or(0) + map.mapped(level));
            }
        }
        let large = Level::all().filter(|&level| level != Level::PTE && !F::GEOMETRY.is_folded(level));
        for (splits, level) in self.direct_splits.iter_mut().zip(large) {
            *splits += map.splits(level);
        }
        self
    }

    /// Writes the lines of `/proc/meminfo`.
    ///
    /// # Linux source concept
    /// `meminfo_proc_show()`.
    pub fn tell_meminfo(&self, meminfo: &mut Meminfo) {
        let kib = |bytes: u64| Some(bytes / KIB);
        meminfo.k_reclaimable = kib(self.slab_reclaimable);
        meminfo.slab = kib(self.slab_reclaimable + self.slab_unreclaimable);
        meminfo.s_reclaimable = kib(self.slab_reclaimable);
        meminfo.s_unreclaim = kib(self.slab_unreclaimable);
        meminfo.kernel_stack = kib(self.stacks);
        meminfo.vmalloc_used = kib(self.vmalloc);
        // Linux does not count chunks any more.
        meminfo.vmalloc_chunk = Some(0);
        meminfo.percpu = kib(self.per_cpu);
        let direct = self.direct_map.map(|bytes| bytes.map(|bytes| bytes / KIB));
        [
            meminfo.direct_map_4k,
            meminfo.direct_map_2m,
            meminfo.direct_map_4m,
            meminfo.direct_map_1g,
        ] = direct;
    }

    /// Sets the counters of `/proc/vmstat`: slabs in frames, stacks in KiB.
    pub fn tell_vmstat(&self, counters: &mut Counters) {
        let [large, huge] = self.direct_splits;
        counters.set("direct_map_level2_splits", large);
        counters.set("direct_map_level3_splits", huge);
        counters.set("nr_slab_reclaimable", self.slab_reclaimable / PAGE);
        counters.set("nr_slab_unreclaimable", self.slab_unreclaimable / PAGE);
        counters.set("nr_kernel_stack", self.stacks / KIB);
    }

    /// Frames, each counted once: what of a machine's memory is neither free
    /// nor a program's.
    pub fn frames(&self) -> u64 {
        (self.slab_reclaimable + self.slab_unreclaimable + self.vmalloc) / PAGE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::sync::Arc;

    use foliant_paging::PageTables;
    use foliant_phys::BootOptions;
    use foliant_phys::testing::boot_with;
    use foliant_platform::testing::TestPlatform;
    use foliant_uapi::text::{Text, vmstat_of_zeroes};
    use foliant_units::{Pfn, VirtAddr, VirtRange};

    use super::*;
    use crate::direct::FollowingConfig;
    use crate::percpu::{FirstChunk, PerCpuRequest};
    use crate::slab::{CacheSpec, How, SlabOptions};
    use crate::stack::StackUser;
    use crate::vmalloc::{Purging, VmallocRequest};

    const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);

    fn line(meminfo: &Meminfo, name: &str) -> u64 {
        let text = alloc::string::String::from_utf8(meminfo.to_bytes()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches(" kB").trim().parse().unwrap()
    }

    #[test]
    fn the_direct_map_is_told_by_the_size_of_its_pages() {
        let phys = boot_with(2048, 1, BootOptions::test());
        let tables = Arc::new(PageTables::<TestPlatform>::new_kernel(&phys).unwrap());
        let base = VirtAddr::new(0xffff_8880_0000_0000);
        let config = FollowingConfig::new(base, Pfn::new(1 << 34));
        let map = FollowingMap::of_ram(&tables, config).unwrap();
        let mut meminfo = Meminfo::default();
        KernelMemory::default()
            .with_direct_map(&map)
            .tell_meminfo(&mut meminfo);
        let (small, large) = (line(&meminfo, "DirectMap4k:"), line(&meminfo, "DirectMap2M:"));
        assert_eq!(line(&meminfo, "DirectMap1G:"), 0);
        assert_eq!(meminfo.direct_map_4m, None);
        let ram: u64 = phys.ram_ranges().map(|range| range.len() * 4).sum();
        assert_eq!((small + large, large % 2048), (ram, 0));
        assert!(small >= 2048 && large >= 2048, "the first 2 MiB are small pages");
    }

    #[test]
    fn what_the_kernel_takes_is_what_meminfo_and_vmstat_tell() {
        let phys = boot_with(2048, 2, BootOptions::test());
        let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
        let range = VirtRange::new(START, START + (32 << 40));
        let vmalloc: Arc<Vmalloc<TestPlatform>> = Arc::new(Vmalloc::new(&tables, range, Purging::AtOnce));
        let stacks = KernelStacks::new(&vmalloc, 4);
        let first = FirstChunk {
            image: &[7; 100],
            reserved: 0,
            dynamic: 20 << 10,
        };
        let per_cpu = PerCpu::new(&vmalloc, first).unwrap();
        let slab = Slab::new(phys.clone(), SlabOptions::default()).unwrap();
        let inodes = slab
            .create(CacheSpec::new("inode_cache", 600).reclaimable())
            .unwrap();

        let own = |slab: &Slab<_>| {
            KernelMemory::default()
                .with_slab(slab)
                .with_vmalloc(&vmalloc)
                .with_stacks(&stacks)
                .with_per_cpu(&per_cpu)
        };
        let before = own(&slab);
        let held = phys.stats().free;
        // Objects of slabs go with the machine.
        for _ in 0..50 {
            inodes.alloc(How::KERNEL).unwrap();
        }
        slab.kmalloc(64 << 10, How::KERNEL).unwrap();
        let stack = stacks.alloc(StackUser::Task(1)).unwrap();
        let area = vmalloc.alloc(&VmallocRequest::new(40 << 10)).unwrap();
        let counter = per_cpu.alloc(&PerCpuRequest::new(8)).unwrap();

        let now = own(&slab);
        let mut meminfo = Meminfo::default();
        now.tell_meminfo(&mut meminfo);
        let mut counters = vmstat_of_zeroes();
        now.tell_vmstat(&mut counters);
        assert_eq!(line(&meminfo, "KernelStack:"), 16);
        assert_eq!(counters.get("nr_kernel_stack"), Some(16));
        assert_eq!(line(&meminfo, "Percpu:"), 64, "one chunk of two units");
        let grown = line(&meminfo, "VmallocUsed:") * KIB - before.vmalloc;
        assert_eq!(grown, (16 + 40) << 10, "a stack and an area");
        assert_eq!(line(&meminfo, "SReclaimable:"), line(&meminfo, "KReclaimable:"));
        assert!(line(&meminfo, "SReclaimable:") * KIB >= 50 * 600);
        assert!(now.slab_unreclaimable >= before.slab_unreclaimable + (64 << 10));
        let sum = line(&meminfo, "SReclaimable:") + line(&meminfo, "SUnreclaim:");
        assert_eq!(line(&meminfo, "Slab:"), sum);
        let frames =
            counters.get("nr_slab_reclaimable").unwrap() + counters.get("nr_slab_unreclaimable").unwrap();
        assert_eq!(frames * 4, sum);
        // Tables of areas come on top of what is counted.
        let taken = held - phys.stats().free;
        assert!((taken - 4..=taken).contains(&(now.frames() - before.frames())));

        // The single caches and areas add up to the same.
        let caches = now.slabinfo.caches.iter();
        let of_caches: u64 = caches
            .map(|cache| cache.slabs * u64::from(cache.pages_per_slab))
            .sum();
        assert_eq!(of_caches + slab.large_frames(), frames);
        let of_areas: u64 = now.vmallocinfo.areas.iter().map(|area| area.pages).sum();
        assert_eq!(of_areas * 4, line(&meminfo, "VmallocUsed:"));

        per_cpu.free(counter).unwrap();
        vmalloc.free(area).unwrap();
        stacks.free(stack);
    }
}
