//! The guard of a CPU that threads share.

use core::ptr::NonNull;

use foliant_platform::sync::Arc;
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{Pfn, PhysAddr};
use loom::thread;

use super::holds_and_catches;
use crate::alloc::{CpuArea, Entry, Event, Ring};
use crate::mutant::Mutant;

/// One CPU that threads share, and no RAM.
#[derive(Clone)]
struct Shared;

// SAFETY: no RAM was handed over, and the CPU is not exclusive.
unsafe impl Platform for Shared {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        unreachable!("{at:?} is not RAM")
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

#[derive(Default)]
struct Cpu {
    area: CpuArea,
    ring: Ring,
}

impl Cpu {
    fn with_entries(count: u64) -> Arc<Self> {
        let cpu = Self::default();
        for at in 0..count {
            assert!(cpu.ring.push(Entry::new(Pfn::new(at), false)));
        }
        Arc::new(cpu)
    }

    /// Pops one entry, and pushes it back if told to; a bit for what it kept.
    fn visit(&self, keep: bool) -> u32 {
        if !self.area.try_enter::<Shared>() {
            return 0;
        }
        let entry = self.ring.pop();
        self.area.counters.add_alone(Event::Request, 1);
        let kept = match entry {
            Some(entry) if keep => 1 << entry.pfn().raw(),
            Some(entry) => {
                assert!(self.ring.push(entry));
                0
            }
            None => 0,
        };
        self.area.leave();
        kept
    }
}

#[test]
fn loom_those_who_meet_on_a_cpu_do_not_mix_up_its_ring() {
    holds_and_catches(
        || {
            let one = Cpu::with_entries(2);
            let two = one.clone();
            let other = thread::spawn(move || two.visit(true) | two.visit(false));
            let mine = one.visit(true) | one.visit(true);
            let theirs = other.join().unwrap();
            let left: u32 = one.ring.iter().map(|entry| 1 << entry.pfn().raw()).sum();
            assert_eq!(mine & theirs, 0, "an entry was given to both");
            assert_eq!((mine | theirs) & left, 0, "an entry was given and kept");
            assert_eq!(mine | theirs | left, 0b11, "an entry was lost");
        },
        &[Mutant::EnterInTwoSteps, Mutant::LeaveRelaxed],
    );
}
