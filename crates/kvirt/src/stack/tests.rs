//! Stacks on a machine without TLBs.
#![allow(clippy::unwrap_used)]

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_paging::PageTables;
use foliant_phys::testing::{assert_all_free, boot_with};
use foliant_phys::{BootOptions, Phys};
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;
use foliant_units::{PAGE_SIZE, VirtAddr, VirtRange};

use super::*;
use crate::vmalloc::{Purging, Vmalloc};

const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);

type World = (
    Arc<KernelStacks<TestPlatform>>,
    Arc<Vmalloc<TestPlatform>>,
    Arc<Phys<TestPlatform>>,
);

fn world() -> World {
    let phys = boot_with(512, 2, BootOptions::test());
    let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
    let range = VirtRange::new(START, START + (32 << 40));
    let vmalloc = Arc::new(Vmalloc::new(&tables, range, Purging::AtOnce));
    (Arc::new(KernelStacks::new(&vmalloc, 4)), vmalloc, phys)
}

#[test]
fn a_stack_is_aligned_mapped_and_has_nothing_below() {
    let (stacks, vmalloc, phys) = world();
    let made: Vec<KernelStack> = (0..20)
        .map(|pid| stacks.alloc(StackUser::Task(pid)).unwrap())
        .collect();
    for stack in &made {
        let range = stack.range();
        assert!(range.start.is_aligned_to(16 << 10));
        assert_eq!((stack.top(), range.len()), (range.end, 16 << 10));
        assert!(vmalloc.physical(range.end - 1).is_some());
        assert_eq!(vmalloc.physical(range.start - 1), None);
        assert_eq!(vmalloc.physical(range.end), None);
    }
    assert_eq!(stacks.bytes(), 20 * (16 << 10));
    made.into_iter().for_each(|stack| stacks.free(stack));
    assert_eq!((stacks.bytes(), stacks.cached()), (0, 2));
    drop((stacks, vmalloc));
    assert_all_free(&phys);
}

#[test]
fn a_cached_stack_is_zero_for_its_next_task() {
    let (stacks, vmalloc, phys) = world();
    let stack = stacks.alloc(StackUser::Task(1)).unwrap();
    let base = stack.range().start;
    let place = vmalloc.physical(base + 0x1008).unwrap();
    phys.content(place.frame()).store_u64(8, 42);
    stacks.free(stack);
    // The other CPU has its own.
    let other = phys
        .platform()
        .on_cpu(CpuId(1), || stacks.alloc(StackUser::Task(2)).unwrap());
    assert_ne!(other.range().start, base);
    let again = stacks.alloc(StackUser::Task(3)).unwrap();
    assert_eq!(again.range().start, base);
    assert_eq!(phys.content(place.frame()).load_u64(8), 0);
    stacks.free(again);
    stacks.free(other);
    stacks.drain();
    assert_eq!(stacks.cached(), 0);
}

#[test]
fn an_overflow_names_the_task() {
    let (stacks, _vmalloc, _phys) = world();
    let stack = stacks.alloc(StackUser::Task(4711)).unwrap();
    let base = stack.range().start;
    let said = stacks.overflow(base - 8).unwrap().to_string();
    assert_eq!(
        said,
        alloc::format!(
            "BUG: TASK stack guard page was hit at {:#018x} (stack is {:#018x}..{:#018x}), task 4711",
            base.raw() - 8,
            base.raw(),
            base.raw() + 0x4000
        )
    );
    assert_eq!(stacks.overflow(base), None);
    assert_eq!(stacks.overflow(base - PAGE_SIZE as u64 - 1), None);
    assert_eq!(stacks.overflow(stack.top()), None);
    stacks.free(stack);
    assert_eq!(stacks.overflow(base - 8), None);
}

#[test]
fn each_cpu_has_interrupt_stacks_of_its_own() {
    let (stacks, vmalloc, phys) = world();
    let kinds = InterruptStacks::<TestPlatform>::X86_64;
    let interrupts = InterruptStacks::new(&stacks, kinds).unwrap();
    let irq = interrupts.of(CpuId(1), "IRQ").unwrap().range().start;
    let said = stacks.overflow(irq - 1).unwrap().to_string();
    assert!(said.starts_with("BUG: IRQ stack guard page was hit at"), "{said}");
    assert!(said.ends_with("IRQ of CPU 1"), "{said}");
    assert_ne!(interrupts.of(CpuId(0), "NMI"), interrupts.of(CpuId(1), "NMI"));
    assert_eq!(interrupts.of(CpuId(2), "NMI"), None);
    drop(interrupts);
    drop((stacks, vmalloc));
    assert_all_free(&phys);
}

#[test]
fn every_failing_allocation_leaves_nothing_behind() {
    for nth in 1..30 {
        let (stacks, vmalloc, phys) = world();
        phys.fail_at(nth);
        if let Ok(stack) = stacks.alloc(StackUser::Task(1)) {
            stacks.free(stack);
        }
        let interrupts = InterruptStacks::new(&stacks, InterruptStacks::<TestPlatform>::X86_64);
        phys.fail_at(0);
        drop(interrupts);
        assert_eq!(stacks.bytes(), 0);
        drop((stacks, vmalloc));
        assert_all_free(&phys);
    }
}
