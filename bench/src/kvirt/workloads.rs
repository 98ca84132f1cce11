//! What is measured.

use std::hint::black_box;

use foliant_arch::KernelProt;
use foliant_kvirt::percpu::PerCpuRequest;
use foliant_kvirt::stack::StackUser;
use foliant_kvirt::vmalloc::VmallocRequest;
use foliant_phys::{AllocRequest, Owner};
use foliant_units::{Pfn, VirtAddr};

use super::Kernel;
use super::clock::{Sample, time};

/// Operations of one round: few, so that the host lets both threads finish it.
const OPERATIONS: usize = 500;

pub(super) type Work = fn(&Kernel, usize) -> Sample;

pub(super) const ALL: &[(&str, Work)] = &[
    ("vmalloc+vfree 16 KiB", pair),
    ("the same, 64 held", held),
    ("vmalloc+vfree 2 MiB page", large),
    ("vmap+vunmap 4 frames", vmap),
    ("vm_map_ram, 4 frames", map_ram),
    ("kernel stack", stack),
    ("per-CPU 64 bytes", percpu),
];

fn free(kernel: &Kernel, at: VirtAddr) {
    if let Err(error) = kernel.vmalloc.free(at) {
        panic!("{error}");
    }
}

fn alloc(kernel: &Kernel, request: &VmallocRequest) -> VirtAddr {
    match kernel.vmalloc.alloc(request) {
        Ok(at) => black_box(at),
        Err(error) => panic!("{error}"),
    }
}

fn pair(kernel: &Kernel, _cpu: usize) -> Sample {
    let request = VmallocRequest::new(16 << 10);
    time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            free(kernel, alloc(kernel, &request));
        }
    })
}

fn held(kernel: &Kernel, cpu: usize) -> Sample {
    let request = VmallocRequest::new(16 << 10);
    let mut areas: Vec<VirtAddr> = (0..64).map(|_| alloc(kernel, &request)).collect();
    let mut number = cpu;
    let cost = time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            number = (number * 29 + 13) % 64;
            let old = std::mem::replace(&mut areas[number], alloc(kernel, &request));
            free(kernel, old);
        }
    });
    areas.into_iter().for_each(|at| free(kernel, at));
    cost
}

fn large(kernel: &Kernel, _cpu: usize) -> Sample {
    let request = VmallocRequest::new(2 << 20).large();
    time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            free(kernel, alloc(kernel, &request));
        }
    })
}

/// Lends four frames to `work`.
fn with_frames(kernel: &Kernel, work: impl FnOnce(&[Pfn]) -> Sample) -> Sample {
    let phys = kernel.vmalloc.tables().phys();
    let frames: Vec<_> = (0..4)
        .filter_map(|_| phys.alloc(AllocRequest::kernel(Owner::Test)).ok())
        .collect();
    let numbers: Vec<Pfn> = frames.iter().map(|frame| frame.pfn()).collect();
    work(&numbers)
}

fn vmap(kernel: &Kernel, _cpu: usize) -> Sample {
    with_frames(kernel, |frames| {
        time(OPERATIONS, || {
            for _ in 0..OPERATIONS {
                let mapped = kernel.vmalloc.map(frames, KernelProt::DATA);
                let unmapped = mapped.map(|at| kernel.vmalloc.unmap(black_box(at)));
                assert!(matches!(unmapped, Ok(Ok(()))));
            }
        })
    })
}

fn map_ram(kernel: &Kernel, _cpu: usize) -> Sample {
    with_frames(kernel, |frames| {
        time(OPERATIONS, || {
            for _ in 0..OPERATIONS {
                match kernel.vmalloc.map_ram(frames, KernelProt::DATA) {
                    Ok(map) => kernel.vmalloc.unmap_ram(black_box(map)),
                    Err(error) => panic!("{error}"),
                }
            }
        })
    })
}

fn stack(kernel: &Kernel, cpu: usize) -> Sample {
    time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            match kernel.stacks.alloc(StackUser::Task(cpu as u32)) {
                Ok(stack) => kernel.stacks.free(black_box(stack)),
                Err(error) => panic!("{error}"),
            }
        }
    })
}

fn percpu(kernel: &Kernel, _cpu: usize) -> Sample {
    let request = PerCpuRequest::new(64);
    time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            let freed = kernel
                .percpu
                .alloc(&request)
                .and_then(|memory| kernel.percpu.free(black_box(memory)));
            assert_eq!(freed, Ok(()));
        }
    })
}
