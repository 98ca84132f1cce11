//! Per-CPU memory on a machine without TLBs.
#![allow(clippy::unwrap_used)]

extern crate std;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use foliant_paging::PageTables;
use foliant_phys::testing::{assert_all_free, boot_with};
use foliant_phys::{AllocError, BootOptions, Phys};
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;
use foliant_units::{VirtAddr, VirtRange};

use super::*;
use crate::vmalloc::{Purging, Vmalloc, VmallocError};

const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);
const CPUS: u32 = 3;
const UNIT: u64 = 32 << 10;

struct World {
    percpu: PerCpu<TestPlatform>,
    vmalloc: Arc<Vmalloc<TestPlatform>>,
    phys: Arc<Phys<TestPlatform>>,
}

fn vmalloc() -> (Arc<Vmalloc<TestPlatform>>, Arc<Phys<TestPlatform>>) {
    let phys = boot_with(1024, CPUS, BootOptions::test());
    let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
    let range = VirtRange::new(START, START + (32 << 40));
    (Arc::new(Vmalloc::new(&tables, range, Purging::AtOnce)), phys)
}

fn world(first: FirstChunk<'_>) -> World {
    let (vmalloc, phys) = vmalloc();
    World {
        percpu: PerCpu::new(&vmalloc, first).unwrap(),
        vmalloc,
        phys,
    }
}

impl World {
    fn byte(&self, at: VirtAddr) -> u8 {
        let place = self.vmalloc.physical(at).unwrap();
        let mut byte = [0];
        self.phys.content(place.frame()).read(place.offset(), &mut byte);
        byte[0]
    }

    fn fill(&self, memory: PerCpuPtr, len: usize, byte: u8) {
        for cpu in 0..CPUS {
            let at = self.percpu.address(memory, CpuId(cpu));
            self.percpu.write(at, &vec![byte; len]);
        }
    }

    fn end(self) {
        drop((self.percpu, self.vmalloc));
        assert_all_free(&self.phys);
    }
}

#[test]
fn every_cpu_begins_with_a_copy_of_the_static_variables() {
    let image: Vec<u8> = (0..5000u32).map(|at| (at % 251) as u8).collect();
    let world = world(FirstChunk {
        image: &image,
        reserved: 8 << 10,
        dynamic: 28 << 10,
    });
    for offset in [0, 1, 4095, 4096, 4999] {
        let variable = world.percpu.static_at(offset).unwrap();
        for cpu in 0..CPUS {
            let at = world.percpu.address(variable, CpuId(cpu));
            assert_eq!(world.byte(at), image[offset as usize]);
        }
    }
    assert_eq!(world.percpu.static_at(5000), None);
    // 5000 + 8 KiB + 28 KiB in whole pages, for each CPU.
    assert_eq!(world.percpu.bytes(), 3 * (44 << 10));
    world.end();
}

#[test]
fn memory_is_zeroed_aligned_and_apart_on_every_cpu() {
    let world = world(FirstChunk::default());
    let mut held: Vec<(PerCpuPtr, u64)> = Vec::new();
    for round in 0..60u64 {
        let (size, align) = (1 + round * 13 % 300, 1 << (round % 13));
        let memory = world
            .percpu
            .alloc(&PerCpuRequest::new(size).align(align))
            .unwrap();
        for cpu in 0..CPUS {
            let at = world.percpu.address(memory, CpuId(cpu));
            assert!(at.is_aligned_to(align));
            assert_eq!((world.byte(at), world.byte(at + size - 1)), (0, 0));
        }
        world.fill(memory, size as usize, round as u8 + 1);
        held.push((memory, size));
        if round % 3 == 2 {
            let (memory, _) = held.swap_remove(round as usize * 7 % held.len());
            world.percpu.free(memory).unwrap();
        }
    }
    let mut places: Vec<(VirtAddr, u64)> = held.iter().map(|&(memory, size)| (memory.0, size)).collect();
    places.sort();
    assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    for (memory, _) in held {
        world.percpu.free(memory).unwrap();
        assert_eq!(world.percpu.free(memory), Err(PerCpuError::NotAllocated));
    }
    assert_eq!(world.percpu.stats().nr_cur_alloc, 0);
    world.end();
}

#[test]
fn a_full_chunk_is_followed_by_another_and_empty_ones_are_given_back() {
    let world = world(FirstChunk::default());
    let request = PerCpuRequest::new(UNIT / 2);
    let held: Vec<PerCpuPtr> = (0..10).map(|_| world.percpu.alloc(&request).unwrap()).collect();
    assert_eq!(world.percpu.stats().nr_chunks, 5);
    assert_eq!(world.percpu.bytes(), 5 * 3 * UNIT);
    held.into_iter()
        .for_each(|memory| world.percpu.free(memory).unwrap());
    world.percpu.balance().unwrap();
    // The first, and one that nothing is in.
    let stats = world.percpu.stats();
    assert_eq!((stats.nr_chunks, stats.nr_max_chunks), (2, 5));
    assert_eq!(
        (stats.nr_alloc, stats.nr_dealloc, stats.nr_max_alloc),
        (10, 10, 10)
    );
    assert_eq!((stats.min_alloc_size, stats.max_alloc_size), (UNIT / 2, UNIT / 2));
    world.end();
}

#[test]
fn who_cannot_wait_gets_what_there_is() {
    let world = world(FirstChunk::default());
    let request = PerCpuRequest::new(UNIT).atomic();
    world.percpu.alloc(&request).unwrap();
    let frames = world.phys.allocations();
    assert_eq!(world.percpu.alloc(&request), Err(PerCpuError::NoRoom));
    assert_eq!(world.phys.allocations(), frames);
    world.percpu.balance().unwrap();
    world.percpu.alloc(&request).unwrap();
    world.end();
}

#[test]
fn the_reserved_part_is_for_modules_alone() {
    let world = world(FirstChunk {
        image: &[1; 100],
        reserved: 1000,
        dynamic: 0,
    });
    let first = world.percpu.static_at(0).unwrap();
    let module = world.percpu.alloc(&PerCpuRequest::new(600).reserved()).unwrap();
    assert_eq!(module.0 - first.0, 104);
    let more = PerCpuRequest::new(600).reserved();
    assert_eq!(world.percpu.alloc(&more), Err(PerCpuError::NoRoom));
    let other = world.percpu.alloc(&PerCpuRequest::new(4).align(4)).unwrap();
    assert_eq!(other.0 - first.0, 1100);
    world.percpu.free(module).unwrap();
    world.percpu.alloc(&more).unwrap();
    world.end();
}

#[test]
fn nonsense_is_refused() {
    let world = world(FirstChunk::default());
    for request in [
        PerCpuRequest::new(0),
        PerCpuRequest::new(UNIT + 1),
        PerCpuRequest::new(8).align(3),
        PerCpuRequest::new(8).align(8192),
    ] {
        assert_eq!(world.percpu.alloc(&request), Err(PerCpuError::Illegal));
    }
    let wild = PerCpuPtr(VirtAddr::new(0x1234));
    assert_eq!(world.percpu.free(wild), Err(PerCpuError::NotAllocated));
    let first = world.percpu.alloc(&PerCpuRequest::new(64)).unwrap();
    let inside = PerCpuPtr(first.0 + 4);
    assert_eq!(world.percpu.free(inside), Err(PerCpuError::NotAllocated));
    world.end();
}

#[test]
fn every_failing_allocation_leaves_nothing_behind() {
    for nth in 1..60 {
        let (vmalloc, phys) = vmalloc();
        phys.fail_at(nth);
        if let Ok(percpu) = PerCpu::new(&vmalloc, FirstChunk::default()) {
            for _ in 0..3 {
                if let Err(error) = percpu.alloc(&PerCpuRequest::new(UNIT)) {
                    let injected = PerCpuError::NoChunk(VmallocError::NoTable(AllocError::Injected));
                    assert_eq!(error, injected);
                }
            }
        }
        phys.fail_at(0);
        drop(vmalloc);
        assert_all_free(&phys);
    }
}

#[test]
fn threads_share_the_chunks() {
    let world = world(FirstChunk::default());
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let percpu = &world.percpu;
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..600u64 {
                    let size = 8 + (round * 31 + thread * 7) % 2000;
                    held.push(percpu.alloc(&PerCpuRequest::new(size)).unwrap());
                    if held.len() > 20 {
                        percpu.free(held.swap_remove(round as usize % 20)).unwrap();
                    }
                }
                held.into_iter().for_each(|memory| percpu.free(memory).unwrap());
            });
        }
    });
    assert_eq!(world.percpu.stats().nr_cur_alloc, 0);
    world.end();
}
