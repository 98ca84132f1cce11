//! Fixed slots, windows, stacks and per-CPU memory as CPUs see them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use foliant_arch::{KernelProt, PageFault};
use foliant_kvirt::fixmap::{Fixmap, X86_64_FIXMAP};
use foliant_kvirt::kmap::{DirectMap, Kmap, LocalMaps, Spin};
use foliant_kvirt::percpu::{FirstChunk, PerCpu, PerCpuRequest};
use foliant_kvirt::stack::{KernelStacks, StackUser};
use foliant_kvirt::vmalloc::{Purging, Vmalloc};
use foliant_paging::PageTables;
use foliant_phys::testing::assert_all_free;
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_platform::CpuId;
use foliant_soft::{AddressSpace, Forget, SoftConfig, SoftContext, SoftMachine, Trap};
use foliant_units::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};

const VMALLOC: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);
const WINDOW: VirtAddr = VirtAddr::new(0xffff_fe00_0000_0000);
const LOCALS: VirtAddr = VirtAddr::new(0xffff_fe00_0020_0000);
const PAGE: u64 = PAGE_SIZE as u64;
/// Nothing is shown without a window.
const NO_DIRECT_MAP: DirectMap = DirectMap {
    start: VirtAddr::new(0xffff_8880_0000_0000),
    end: Pfn::ZERO,
};

/// The kernel's tables as a space of their own: what runs before any program.
struct Kernel {
    tables: Arc<PageTables<SoftMachine>>,
    stacks: Option<Arc<KernelStacks<SoftMachine>>>,
    phys: Arc<Phys<SoftMachine>>,
    machine: SoftMachine,
}

impl AddressSpace for Kernel {
    type Refusal = String;

    fn context(&self) -> &SoftContext {
        self.tables.context()
    }

    fn resolve(&self, fault: PageFault) -> Result<(), String> {
        let overflow = self.stacks.as_ref().and_then(|stacks| stacks.overflow(fault.at));
        Err(overflow.map_or("nothing there".to_owned(), |overflow| overflow.to_string()))
    }
}

fn kernel(cpus: u32) -> Kernel {
    let machine = SoftMachine::new(SoftConfig {
        ram: 16 << 20,
        cpus,
        ..SoftConfig::default()
    });
    let phys = machine.boot(BootOptions::test()).unwrap();
    Kernel {
        tables: Arc::new(PageTables::new_kernel(&phys).unwrap()),
        stacks: None,
        phys,
        machine,
    }
}

impl Kernel {
    fn vmalloc(&self) -> Arc<Vmalloc<SoftMachine>> {
        let range = VirtRange::new(VMALLOC, VMALLOC + (32 << 40));
        Arc::new(Vmalloc::new(&self.tables, range, Purging::Lazy))
    }

    /// Frames whose first word is their number.
    fn frames(&self, count: u64) -> Vec<Pfn> {
        let alloc = |number| {
            let frame = self.phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
            frame.content().store_u64(0, number);
            frame.into_pfn()
        };
        (0..count).map(alloc).collect()
    }

    fn end(self, frames: Vec<Pfn>) {
        assert_eq!(self.machine.audit(), []);
        frames.into_iter().for_each(|frame| drop(self.phys.adopt(frame)));
        drop(self.tables);
        assert_all_free(&self.phys);
    }
}

#[test]
fn a_fixed_slot_shows_what_was_set_last_on_every_cpu() {
    let kernel = kernel(2);
    let fixmap = Fixmap::new(&kernel.tables, X86_64_FIXMAP).unwrap();
    let frames = kernel.frames(2);
    let slot = X86_64_FIXMAP.slot("text_poke");
    for round in 0..6u64 {
        let at = fixmap
            .set(slot, frames[round as usize % 2], KernelProt::READ_ONLY)
            .unwrap();
        for cpu in 0..2 {
            kernel.machine.run_on(CpuId(cpu), |cpu| {
                let running = cpu.enter(&kernel).as_kernel();
                assert_eq!(running.read_u64(at), Ok(round % 2));
                assert!(matches!(running.write_u64(at, 1), Err(Trap::Refused(..))));
            });
        }
    }
    fixmap.clear(slot).unwrap();
    kernel.machine.run_on(CpuId(1), |cpu| {
        assert!(cpu.enter(&kernel).as_kernel().read_u64(slot.address()).is_err());
    });
    drop(fixmap);
    kernel.end(frames);
}

/// CPUs look at many frames through four slots; whether one saw a wrong frame.
fn look_through_a_small_window(forget: Forget) -> bool {
    let kernel = kernel(3);
    let window = VirtRange::new(WINDOW, WINDOW + 4 * PAGE);
    let kmap = Kmap::new(&kernel.tables, window, NO_DIRECT_MAP, Spin).unwrap();
    let frames = kernel.frames(20);
    kernel.machine.forget(forget);
    let right = kernel.machine.run(3, |cpu| {
        let me = u64::from(cpu.id().0);
        let running = cpu.enter(&kernel).as_kernel();
        (0..400u64).all(|round| {
            let number = (round * 7 + me * 3) % 20;
            let at = kmap.map(frames[number as usize]);
            let seen = running.read_u64(at);
            kmap.unmap(frames[number as usize]).unwrap();
            seen == Ok(number)
        })
    });
    kernel.machine.forget(Forget::Nothing);
    assert_eq!(kmap.used(), 0);
    drop(kmap);
    let right = right.into_iter().all(|right| right);
    if right {
        kernel.end(frames);
    }
    right
}

#[test]
fn a_small_window_shows_every_frame_as_itself() {
    assert!(look_through_a_small_window(Forget::Nothing));
}

#[test]
fn a_window_without_its_flush_is_noticed() {
    assert!(!look_through_a_small_window(Forget::Removed));
}

#[test]
fn local_maps_nest_on_every_cpu_with_local_flushes() {
    let kernel = kernel(3);
    let locals = LocalMaps::new(&kernel.tables, LOCALS, NO_DIRECT_MAP).unwrap();
    let frames = kernel.frames(12);
    kernel.machine.run(3, |cpu| {
        let me = u64::from(cpu.id().0);
        let running = cpu.enter(&kernel).as_kernel();
        for round in 0..200u64 {
            let number = (round * 5 + me) % 12;
            let other = (number + 1) % 12;
            let outer = locals.map(frames[number as usize], KernelProt::DATA).unwrap();
            assert_eq!(running.read_u64(outer.start()), Ok(number));
            {
                let inner = locals.map(frames[other as usize], KernelProt::DATA).unwrap();
                assert_eq!(running.read_u64(inner.start()), Ok(other));
                assert_eq!(running.read_u64(outer.start()), Ok(number));
            }
            assert_eq!(locals.depth(), 1);
        }
    });
    drop(locals);
    kernel.end(frames);
}

#[test]
fn a_stack_that_overflows_faults_with_the_name_of_its_task() {
    let mut kernel = kernel(1);
    let vmalloc = kernel.vmalloc();
    let stacks = Arc::new(KernelStacks::new(&vmalloc, 4));
    kernel.stacks = Some(stacks.clone());
    let below = stacks.alloc(StackUser::Task(41)).unwrap();
    let stack = stacks.alloc(StackUser::Task(42)).unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        let running = cpu.enter(&kernel).as_kernel();
        // A recursion that never ends.
        let mut pointer = stack.top();
        let said = loop {
            pointer = VirtAddr::new(pointer.raw() - 256);
            if let Err(trap) = running.write_u64(pointer, 0x1234) {
                break trap;
            }
        };
        let Trap::Refused(fault, said) = said else {
            panic!("{said:?}")
        };
        assert_eq!(fault.at, VirtAddr::new(stack.range().start.raw() - 256));
        assert!(
            said.starts_with("BUG: TASK stack guard page was hit at"),
            "{said}"
        );
        assert!(said.ends_with(", task 42"), "{said}");
        // The neighbour is whole.
        assert_eq!(running.read_u64(below.range().start), Ok(0));
    });
    stacks.free(stack);
    stacks.free(below);
    kernel.stacks = None;
    drop(stacks);
    drop(vmalloc);
    kernel.end(Vec::new());
}

#[test]
fn every_cpu_counts_in_its_own_copy() {
    let kernel = kernel(4);
    let vmalloc = kernel.vmalloc();
    let image = 1000u64.to_ne_bytes();
    let first = FirstChunk {
        image: &image,
        ..FirstChunk::default()
    };
    let percpu = PerCpu::new(&vmalloc, first).unwrap();
    let counter = percpu.alloc(&PerCpuRequest::new(8)).unwrap();
    let fixed = percpu.static_at(0).unwrap();
    kernel.machine.run(4, |cpu| {
        let id = cpu.id();
        let running = cpu.enter(&kernel).as_kernel();
        for variable in [counter, fixed] {
            let at = percpu.address(variable, id);
            for _ in 0..100 {
                let value = running.read_u64(at).unwrap();
                running.write_u64(at, value + 1 + u64::from(id.0)).unwrap();
            }
        }
    });
    kernel.machine.run_on(CpuId(0), |cpu| {
        let running = cpu.enter(&kernel).as_kernel();
        for id in 0..4 {
            let read = |variable| running.read_u64(percpu.address(variable, CpuId(id)));
            assert_eq!(read(counter), Ok(100 * (1 + u64::from(id))));
            assert_eq!(read(fixed), Ok(1000 + 100 * (1 + u64::from(id))));
        }
    });
    drop(percpu);
    drop(vmalloc);
    kernel.end(Vec::new());
}
