//! What requests can ask for besides a folio: reserves, accounts, a word in the
//! log, and a memory of who asked.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use foliant_phys::boot::{MinFree, OnViolation};
use foliant_phys::{
    Accountant, AllocError, AllocRequest, BlockKind, BootOptions, Console, Effort, Event, Frame, Mobility,
    Owner, Phys, Refused, Who, testing,
};
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;
use foliant_units::{Order, Pfn};

type Machine = Arc<Phys<TestPlatform>>;

fn kernel() -> AllocRequest {
    AllocRequest::kernel(Owner::Test).silent()
}

fn order(raw: u8) -> Order {
    Order::new(raw).unwrap()
}

/// A machine of one hundred and a few blocks, most of which are kept back.
fn wary() -> Machine {
    wary_with(1)
}

fn wary_with(cpus: u32) -> Machine {
    let options = BootOptions {
        min_free: MinFree::Kib(4 * 52_000),
        poison: foliant_phys::boot::Poison::Off,
        ..BootOptions::test()
    };
    testing::boot_with(112 * 512, cpus, options)
}

fn reserved(phys: &Machine) -> u64 {
    let zones = phys.zones().iter();
    zones.map(|(_, zone)| zone.reserved_high_atomic()).sum()
}

fn free_reserved(phys: &Machine) -> u64 {
    let zones = phys.zones().iter();
    zones.map(|(id, _)| phys.free_high_atomic(id)).sum()
}

/// Uses what is not kept back.
fn use_up(phys: &Machine, request: AllocRequest) -> Vec<Frame<'_, TestPlatform>> {
    core::iter::from_fn(|| phys.alloc(request).ok()).collect()
}

#[test]
fn a_block_is_set_aside_for_atomic_requests_and_given_back_under_pressure() {
    let phys = wary();
    let ordinary = use_up(&phys, kernel().order(order(4)).effort(Effort::NoWait));
    assert_eq!(reserved(&phys), 0, "others are not set aside for");

    let atomic = kernel().order(order(4)).effort(Effort::Atomic);
    let held = phys.alloc(atomic).unwrap();
    assert_eq!(reserved(&phys), 512);
    assert_eq!(phys.block_kind(held.pfn()), Some(BlockKind::HighAtomic));
    let free = free_reserved(&phys);
    assert!(free > 0 && free < 512);
    let mut counted = 0;
    for (id, _) in phys.zones().iter() {
        let by_order = phys.zone_stats(id).by_kind[BlockKind::HighAtomic.index()];
        counted += by_order
            .iter()
            .enumerate()
            .map(|(order, count)| count << order)
            .sum::<u64>();
    }
    assert_eq!(counted, free, "pagetypeinfo counts it");

    // The next one comes from there, and no more than a hundredth goes.
    let next = phys.alloc(atomic).unwrap();
    assert_eq!(next.pfn().align_down(512), held.pfn().align_down(512));
    assert_eq!((reserved(&phys), free_reserved(&phys)), (512, free - 16));
    let more: Vec<_> = (0..200).map(|_| phys.alloc(atomic).unwrap()).collect();
    let managed: u64 = phys.zones().iter().map(|(_, zone)| zone.managed()).sum();
    assert!(reserved(&phys) <= (managed / 100).next_multiple_of(512) + 512);
    let most = reserved(&phys);
    testing::audit(&phys);

    // Those who may sleep and get nothing else take it over, block by block.
    drop(more);
    assert!(free_reserved(&phys) > 0);
    let mut pressed = Vec::new();
    for left in (0..most / 512).rev() {
        pressed.extend(use_up(&phys, kernel().effort(Effort::Urgent)));
        assert_eq!(reserved(&phys), left * 512);
    }
    drop((ordinary, held, next, pressed));
    testing::assert_all_free(&phys);
}

#[test]
fn the_reserve_opens_in_steps() {
    let phys = wary();
    let mut held = use_up(&phys, kernel().effort(Effort::NoRetry));
    let free = |phys: &Machine| phys.stats().free;
    let mut left = vec![free(&phys)];
    for effort in [Effort::Urgent, Effort::Atomic, Effort::Reserves] {
        held.extend(use_up(&phys, kernel().effort(effort)));
        left.push(free(&phys));
    }
    // Each deeper than the one before, the last to the ground.
    assert!(left.windows(2).all(|pair| pair[1] < pair[0]), "{left:?}");
    assert!(left[1].abs_diff(left[0] / 2) < 600, "half: {left:?}");
    assert!(left[2].abs_diff(left[0] * 3 / 8) < 600, "three eighths: {left:?}");
    assert_eq!(left[3], 0);
    held.clear();
    let victim = use_up(&phys, kernel().effort(Effort::Victim));
    assert!(free(&phys).abs_diff(left[1]) < 600, "as deep as who is urgent");
    drop((held, victim));
    testing::assert_all_free(&phys);
}

/// An account with so many frames.
struct Purse(AtomicI64);

impl Accountant for Purse {
    fn charge(&self, request: &AllocRequest) -> Result<NonZeroU64, Refused> {
        let frames = request.order.frames() as i64;
        if self.0.fetch_sub(frames, Ordering::Relaxed) < frames {
            self.0.fetch_add(frames, Ordering::Relaxed);
            return Err(Refused);
        }
        Ok(NonZeroU64::new(7).unwrap())
    }

    fn uncharge(&self, account: NonZeroU64, order: Order) {
        assert_eq!(account.get(), 7);
        self.0.fetch_add(order.frames() as i64, Ordering::Relaxed);
    }
}

#[test]
fn accounted_frames_are_charged_until_they_are_free() {
    let phys = testing::boot(256);
    let purse = Arc::new(Purse(AtomicI64::new(20)));
    let left = || purse.0.load(Ordering::Relaxed);
    phys.set_accountant(Some(purse.clone()));
    let free = phys.alloc(kernel()).unwrap();
    assert_eq!((left(), phys.charged_to(free.pfn())), (20, None));

    let mut held: Vec<_> = (0..12)
        .map(|_| phys.alloc(kernel().accounted()).unwrap())
        .collect();
    assert_eq!(left(), 8);
    assert_eq!(phys.charged_to(held[0].pfn()).map(NonZeroU64::get), Some(7));
    let folio = phys.alloc(kernel().accounted().order(order(3))).unwrap();
    assert_eq!(left(), 0);
    for _ in 0..3 {
        assert_eq!(
            phys.alloc(kernel().accounted()).err(),
            Some(AllocError::OverCharged)
        );
    }
    assert_eq!(phys.events(Event::ChargeRefused), 3);
    testing::audit(&phys);

    // One reference more keeps the charge; the last ends it.
    let again = held[0].clone();
    held.clear();
    assert_eq!(left(), 11);
    drop(again);
    assert_eq!(left(), 12);
    // A folio in pieces is charged piece by piece.
    let pieces: Vec<_> = folio.split().iter().map(|pfn| phys.adopt(pfn)).collect();
    drop(pieces.into_iter().next());
    assert_eq!(left(), 20);
    drop(free);
    phys.set_accountant(None);
    testing::assert_all_free(&phys);
}

/// Keeps what it is told.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Console for Log {
    fn who(&self) -> Who {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"init");
        Who {
            pid: 2,
            tgid: 1,
            comm,
            doing: "mmap",
        }
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

#[test]
fn a_failure_is_told_once_in_a_while_and_not_if_that_is_unwanted() {
    let phys = testing::boot(256);
    let log = Arc::new(Log::default());
    phys.set_console(Some(log.clone()));
    let huge = AllocRequest::kernel(Owner::Test).order(order(10));
    assert!(phys.alloc(huge.silent()).is_err());
    assert_eq!(log.0.lock().unwrap().len(), 0);
    assert!(phys.alloc(huge).is_err() && phys.alloc(huge).is_err());
    let lines = log.0.lock().unwrap().clone();
    assert_eq!(
        lines[0],
        "init: page allocation failure: order:10, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), \
         nodemask=(null),cpuset=/,mems_allowed=0"
    );
    assert_eq!(lines.iter().filter(|line| line.contains("failure")).count(), 1);
    assert_eq!(lines[1], "Mem-Info:");
    assert!(lines[2].starts_with("Node 0 DMA free:"), "{}", lines[2]);
    let sums = lines.iter().filter(|line| line.contains("*4096kB = "));
    assert_eq!(sums.count(), phys.zones().iter().count(), "{lines:?}");
    assert_eq!(phys.events(Event::FailWarn), 2);
}

#[test]
fn it_is_remembered_who_allocated_and_who_freed() {
    let options = BootOptions {
        page_owner: true,
        on_violation: OnViolation::Record,
        ..BootOptions::test()
    };
    let phys = testing::boot_with(256, 1, options);
    let log = Arc::new(Log::default());
    phys.set_console(Some(log.clone()));
    let text = |phys: &Machine| {
        let mut text = String::new();
        phys.write_page_owner(&mut text).unwrap();
        text
    };
    assert_eq!(text(&phys), "");
    let frame = phys.alloc(AllocRequest::movable(Owner::Anonymous)).unwrap();
    let folio = phys.alloc(kernel().order(order(2))).unwrap();
    let (pfn, zone) = (frame.pfn(), phys.zones().get(phys.zone_of(frame.pfn()).unwrap()));
    let all = text(&phys);
    let mut records = all
        .split("\n\n")
        .filter(|record| record.contains("ANON") || record.contains("anon"));
    let record: Vec<_> = records.next().unwrap().lines().collect();
    assert!(
        record[0].starts_with(
            "Page allocated via order 0, mask 0x100cca(GFP_HIGHUSER_MOVABLE), pid 2, tgid 1 (init), ts "
        ) && record[0].ends_with(" ns"),
        "{record:?}"
    );
    assert_eq!(
        record[1..],
        [
            format!(
                "PFN {:#x} type Movable Block {} type Movable Flags 0x0(node=0|zone={})",
                pfn.raw(),
                pfn.raw() / 512,
                zone.kind().index()
            ),
            " anonymous".to_owned(),
            " mmap".to_owned()
        ]
    );
    assert_eq!(all.matches("Page allocated").count(), 2);
    assert!(
        all.contains("order 2, mask 0x42cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_COMP)"),
        "{all}"
    );

    let mut stacks = String::new();
    phys.write_page_owner_stacks(2, &mut stacks).unwrap();
    assert_eq!(stacks, " test\n mmap\nnr_base_pages: 4\n\n");
    phys.write_page_owner_stacks(1, &mut stacks).unwrap();
    assert!(stacks.ends_with(" anonymous\n mmap\nnr_base_pages: 1\n\n test\n mmap\nnr_base_pages: 4\n\n"));

    drop((frame, folio));
    assert_eq!(text(&phys), "");
    // Freed again: the message says who had it.
    drop(phys.adopt(pfn));
    let lines = log.0.lock().unwrap().clone();
    assert_eq!(lines[0], "page_owner tracks the page as freed");
    assert!(
        lines[1].starts_with(
            "page last allocated via order 0, migratetype Movable, gfp_mask 0x100cca(GFP_HIGHUSER_MOVABLE), \
             pid 2, tgid 1 (init), ts "
        ),
        "{lines:?}"
    );
    assert_eq!(lines[4], "page last free pid 2 tgid 1 (init)");
    assert_eq!(phys.events(Event::Violation), 1);
}

#[test]
fn what_is_set_aside_is_no_mobilitys() {
    let phys = wary();
    let ordinary = use_up(&phys, kernel().order(order(4)).effort(Effort::NoWait));
    let held = phys
        .alloc(kernel().order(order(4)).effort(Effort::Atomic))
        .unwrap();
    let home = held.pfn().align_down(512);
    // Whoever does not count it as free leaves it alone.
    let movable = use_up(
        &phys,
        AllocRequest::movable(Owner::Test)
            .silent()
            .effort(Effort::NoRetry),
    );
    let inside = |pfn: Pfn| pfn.align_down(512) == home;
    assert!(!movable.iter().any(|frame| inside(frame.pfn())) || reserved(&phys) == 0);
    assert_ne!(phys.block_kind(home), Some(BlockKind::Of(Mobility::Unmovable)));
    drop((ordinary, held, movable));
    testing::assert_all_free(&phys);
}

#[test]
fn threads_race_for_what_is_set_aside() {
    const THREADS: u32 = 3;
    let phys = wary_with(THREADS);
    let ordinary = use_up(&phys, kernel().order(order(4)).effort(Effort::NoWait));
    std::thread::scope(|scope| {
        for cpu in 0..THREADS {
            let phys = &phys;
            scope.spawn(move || {
                phys.platform().on_cpu(CpuId(cpu), || {
                    let mut held = Vec::new();
                    let mut dice = u64::from(cpu) + 1;
                    for _ in 0..4000 {
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let roll = (dice >> 33) as usize;
                        let effort =
                            [Effort::Atomic, Effort::Urgent, Effort::NoWait, Effort::Victim][roll % 4];
                        let request = kernel().order(order((roll / 4 % 6) as u8)).effort(effort);
                        held.extend(phys.alloc(request));
                        if held.len() > 60 {
                            drop(held.swap_remove(roll / 32 % held.len()));
                        }
                    }
                });
            });
        }
    });
    testing::audit(&phys);
    drop(ordinary);
    testing::assert_all_free(&phys);
    let blocks: u64 = phys
        .zones()
        .iter()
        .map(|(id, _)| phys.zone_stats(id).blocks[BlockKind::HighAtomic.index()])
        .sum();
    assert_eq!(blocks * 512, reserved(&phys), "as many as are counted");
}
