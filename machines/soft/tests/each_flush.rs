//! A script on two CPUs, step by step: whichever flush of it is lost, the
//! audit after the step says so, unless no CPU had anything to lose.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use foliant_mm::{Env, Growth, Layout, Limits, MapRequest, MoveRequest, Randomness, Space};
use foliant_phys::boot::{BootOptions, OnViolation};
use foliant_platform::CpuId;
use foliant_soft::{FlushStats, Forget, SoftConfig, SoftMachine, Violation};
use foliant_uapi::{MapFlags, MremapFlags, Prot};
use foliant_units::{PAGE_SIZE, VirtAddr};

type Soft = Space<SoftMachine>;

const PAGE: u64 = PAGE_SIZE as u64;
const AT: VirtAddr = VirtAddr::new(0x1000_0000);
const PAGES: u64 = 16;
const DONTNEED: u32 = 4;
const GUARD_INSTALL: u32 = 102;

fn anonymous(at: VirtAddr, pages: u64, flags: MapFlags) -> MapRequest<SoftMachine> {
    MapRequest {
        addr: at,
        len: pages * PAGE,
        prot: Prot::READ_WRITE,
        flags: flags | MapFlags::FIXED | MapFlags::ANONYMOUS,
        offset: 0,
        file: None,
    }
}

/// A page of the script, counted from its start.
fn page(number: u64) -> VirtAddr {
    AT + number * PAGE
}

/// How the CPUs use the pages before a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    Read,
    Write,
}

struct Step {
    before: Touch,
    act: fn(&Soft, &mut Vec<Arc<Soft>>),
}

const fn after(before: Touch, act: fn(&Soft, &mut Vec<Arc<Soft>>)) -> Step {
    Step { before, act }
}

/// Each changes something that both CPUs have in their TLBs, with one flush:
/// a second one would cover for the first, because CPUs that do not run the
/// space see only that they missed something.
const STEPS: [Step; 13] = [
    after(Touch::Write, |space, _| space.munmap(page(1), PAGE).unwrap()),
    after(Touch::Write, |space, _| {
        space.mprotect(page(2), 3 * PAGE, Prot::READ).unwrap()
    }),
    after(Touch::Read, |space, _| {
        space.mprotect(page(5), PAGE, Prot::NONE).unwrap()
    }),
    after(Touch::Write, |space, _| {
        space.madvise(page(6), 2 * PAGE, DONTNEED).unwrap()
    }),
    after(Touch::Write, |space, _| {
        let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        let (addr, new_addr) = (page(8), page(60));
        space
            .mremap(MoveRequest {
                addr,
                old_len: PAGE,
                new_len: PAGE,
                flags,
                new_addr,
            })
            .unwrap();
    }),
    after(Touch::Write, |space, _| {
        space.mmap(&anonymous(page(9), 2, MapFlags::PRIVATE)).unwrap();
    }),
    after(Touch::Write, |space, children| {
        children.push(space.fork().unwrap())
    }),
    // The frame is the child's too, so this store makes a copy.
    after(Touch::Read, |space, _| space.copy_out(page(12), &[1]).unwrap()),
    after(Touch::Write, |space, _| {
        space.madvise(page(11), PAGE, GUARD_INSTALL).unwrap()
    }),
    after(Touch::Write, |space, _| {
        space.madvise(page(13), PAGE, DONTNEED).unwrap()
    }),
    // A first store to a page that only zeroes were read from.
    after(Touch::Read, |space, children| {
        children.clear();
        space.copy_out(page(13), &[1]).unwrap();
    }),
    after(Touch::Write, |space, _| space.munmap(page(0), 14 * PAGE).unwrap()),
    // The last pages: their tables go, too.
    after(Touch::Write, |space, _| space.munmap(AT, 100 * PAGE).unwrap()),
];

/// Both CPUs use whatever they may.
fn touch_all(machine: &SoftMachine, space: &Soft, how: Touch) {
    for cpu in 0..2 {
        machine.run_on(CpuId(cpu), |cpu| {
            let running = cpu.enter(space);
            for number in 0..PAGES {
                let _ = running.read_u64(page(number));
                if how == Touch::Write {
                    let _ = running.write_u64(page(number), number);
                }
            }
        });
    }
}

/// Runs the script; stops at the first step that an audit complains about.
fn script(forget: Forget) -> (FlushStats, Vec<Violation>) {
    let machine = SoftMachine::new(SoftConfig {
        ram: 4 << 20,
        cpus: 2,
        ..SoftConfig::default()
    });
    let options = BootOptions {
        on_violation: OnViolation::Record,
        ..BootOptions::test()
    };
    let phys = machine.boot(options).unwrap();
    let env = Env::new(phys.clone()).unwrap();
    let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
    let space = Space::new(&env, layout, Limits::default()).unwrap();
    space.mmap(&anonymous(AT, PAGES, MapFlags::PRIVATE)).unwrap();
    machine.forget(forget);

    let mut children = Vec::new();
    for step in STEPS {
        touch_all(&machine, &space, step.before);
        (step.act)(&space, &mut children);
        let found = machine.audit();
        if !found.is_empty() {
            let stats = machine.flush_stats();
            std::mem::forget((space, children, env, phys));
            return (stats, found);
        }
    }
    (machine.flush_stats(), Vec::new())
}

#[test]
fn every_flush_of_the_script_is_missed_if_it_is_lost() {
    let (stats, found) = script(Forget::Nothing);
    assert_eq!(found, []);
    let mut needed = 0;
    for nth in 1..=stats.flushes {
        let (stats, found) = script(Forget::Nth(nth));
        assert_eq!(
            stats.needed > 0,
            !found.is_empty(),
            "flush {nth}: {stats:?} {found:?}"
        );
        needed += stats.needed;
    }
    assert!(
        needed >= STEPS.len() as u64,
        "only {needed} of {} flushes mattered",
        stats.flushes
    );
    println!("{needed} of {} flushes mattered", stats.flushes);
}
