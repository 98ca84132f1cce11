//! The guard of a CPU that threads share.

use foliant_platform::sync::Arc;
use foliant_units::{Order, Pfn};
use loom::thread;

use super::holds_and_catches;
use super::world::Shared;
use crate::alloc::{CpuArea, Entry, Event, Ring};
use crate::mutant::Mutant;

#[derive(Default)]
struct Cpu {
    area: CpuArea,
    ring: Ring,
}

impl Cpu {
    fn with_entries(count: u64) -> Arc<Self> {
        let cpu = Self::default();
        cpu.ring.open(8, Order::ZERO);
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
        &[Mutant::EnterAnyway],
    );
}

#[test]
fn loom_whoever_gave_a_reason_finds_the_short_ways_closed() {
    holds_and_catches(
        || {
            let one = Arc::new(CpuArea::default());
            one.want_drain();
            let two = one.clone();
            let other = thread::spawn(move || two.want_drain());
            one.take_drain_request();
            one.remember(7);
            other.join().unwrap();
            assert!(
                !one.wants_drain() || one.is_closed(),
                "a request would wait for ever"
            );
            one.take_drain_request();
            assert!(one.is_open() && !one.wants_drain(), "closed without a reason");
        },
        &[
            Mutant::OpenAfterLook,
            Mutant::CloseRelaxed,
            Mutant::RememberStores,
        ],
    );
}
