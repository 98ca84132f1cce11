//! What belongs to a CPU or a node and is looked at by others.

use foliant_platform::sync::Arc;
use foliant_platform::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use foliant_units::{Order, Pfn};
use loom::thread;

use super::holds_and_catches;
use super::world::Shared;
use crate::alloc::{CpuArea, Entry, Event, Ring};
use crate::boot::NodeId;
use crate::compact::Daemons;
use crate::mutant::Mutant;
use crate::zone::{Zone, ZoneId, ZoneKind};

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

#[test]
fn loom_whoever_counts_from_outside_sees_no_more_than_there_can_be() {
    holds_and_catches(
        || {
            let one = Cpu::with_entries(1);
            let two = one.clone();
            let other = thread::spawn(move || [two.ring.len() as u64, two.ring.taken(), two.ring.given()]);
            one.ring.fill(&[Entry::new(Pfn::new(1), false)]);
            assert_eq!(one.ring.drain(2).len(), 2);
            let seen = other.join().unwrap();
            assert!(seen.iter().all(|&count| count <= 2), "{seen:?}");
        },
        &[Mutant::CountWraps],
    );
}

#[test]
fn loom_what_cpus_fold_into_a_zone_adds_up() {
    holds_and_catches(
        || {
            let one = Arc::new(Zone::new(ZoneId::default(), ZoneKind::Normal, NodeId(0)));
            let two = one.clone();
            let other = thread::spawn(move || two.fold_in(&AtomicI64::new(2), 3));
            let delta = AtomicI64::new(-4);
            one.fold_all(&delta);
            other.join().unwrap();
            assert_eq!(delta.load(Ordering::Relaxed), 0);
            assert_eq!(one.free.load(Ordering::Relaxed), 1);
        },
        &[Mutant::FoldInTwoSteps],
    );
}

#[test]
fn loom_a_request_to_a_compaction_thread_is_done_or_wakes_it() {
    holds_and_catches(
        || {
            let node = NodeId(0);
            let one = Arc::new(Daemons::new());
            let woken = Arc::new(AtomicU32::new(0));
            let askers = [1, 2].map(|raw| {
                let (daemons, woken) = (one.clone(), woken.clone());
                thread::spawn(move || {
                    if daemons.ask(node, Order::new(raw).unwrap()) {
                        woken.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            // The thread, which was awake for something else.
            let before = one.answer(node);
            askers.into_iter().for_each(|asker| asker.join().unwrap());
            let after = one.answer(node);
            let answers = u32::from(before.is_some()) + u32::from(after.is_some());
            assert_eq!(
                woken.load(Ordering::Relaxed),
                answers,
                "it sleeps on, or is woken for nothing"
            );
            assert_eq!(before.max(after), Order::new(2), "the largest was forgotten");
        },
        &[Mutant::AskInTwoSteps, Mutant::AnswerInTwoSteps],
    );
}
