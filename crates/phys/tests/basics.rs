//! The allocator as its callers see it, on small machines.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_phys::boot::Poison;
use foliant_phys::{AllocError, AllocRequest, BootOptions, Event, Frame, Mobility, Owner, testing};
use foliant_units::{Order, Pfn};

fn order(raw: u8) -> Order {
    Order::new(raw).unwrap()
}

#[test]
fn a_frame_comes_and_goes() {
    let phys = testing::boot(64);
    let frame = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
    assert_eq!((frame.order(), frame.record().refs.get()), (Order::ZERO, 1));
    assert_eq!(testing::audit(&phys).allocated, 1);
    drop(frame);
    testing::assert_all_free(&phys);
}

#[test]
fn every_frame_can_be_had_once() {
    let phys = testing::boot(64);
    let total = phys.stats().total;
    let mut frames: Vec<Frame<'_, _>> = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::movable(Owner::Test)) {
        frames.push(frame);
    }
    assert_eq!(frames.len() as u64, total);
    let mut numbers: Vec<Pfn> = frames.iter().map(Frame::pfn).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len() as u64, total);
    assert_eq!(testing::audit(&phys).available(), 0);
    drop(frames);
    testing::assert_all_free(&phys);
}

#[test]
fn consecutive_frames_are_neighbours() {
    let phys = testing::boot(8192);
    let frames: Vec<_> = (0..1024)
        .map(|_| phys.alloc(AllocRequest::movable(Owner::Test)).unwrap())
        .collect();
    let neighbours = frames
        .windows(2)
        .filter(|pair| pair[1].pfn() == pair[0].pfn() + 1)
        .count();
    assert!(neighbours > 1000, "{neighbours} of 1023");
    drop(frames);
    // What was freed in order comes back in order.
    let again: Vec<_> = (0..64)
        .map(|_| phys.alloc(AllocRequest::movable(Owner::Test)).unwrap())
        .collect();
    let neighbours = again
        .windows(2)
        .filter(|pair| pair[1].pfn() == pair[0].pfn() + 1)
        .count();
    assert!(neighbours > 60, "{neighbours} of 63");
}

#[test]
fn references_keep_the_frame() {
    let phys = testing::boot(64);
    let frame = phys
        .alloc(AllocRequest::kernel(Owner::Test).order(order(2)))
        .unwrap();
    let pfn = frame.pfn();
    let tail = phys.get(pfn + 3);
    assert_eq!((tail.pfn(), tail.record().refs.get()), (pfn, 2));
    let slot = frame.into_pfn();
    drop(tail);
    assert_eq!(phys.record(pfn).refs.get(), 1);
    drop(phys.adopt(slot));
    assert!(phys.try_get(pfn).is_none());
    testing::assert_all_free(&phys);
}

#[test]
fn all_orders_and_mobilities_work_together() {
    let phys = testing::boot(16 * 1024);
    let mut kept = Vec::new();
    for raw in 0..=10 {
        for mobility in Mobility::ALL {
            let request = AllocRequest {
                mobility,
                ..AllocRequest::kernel(Owner::Test)
            };
            let frame = phys.alloc(request.order(order(raw))).unwrap();
            assert!(frame.pfn().is_aligned_to(order(raw).frames()));
            kept.push(frame);
        }
    }
    testing::audit(&phys);
    drop(kept);
    testing::assert_all_free(&phys);
    phys.drain_all();
    let pairs: u64 = phys
        .zones()
        .iter()
        .map(|(id, _)| phys.zone_stats(id).by_order[10])
        .sum();
    assert!(pairs > 10, "freed frames are whole blocks again: {pairs}");
}

#[test]
fn zeroed_means_zero_whoever_used_the_frame_before() {
    let phys = testing::boot(64);
    for _ in 0..3 {
        let mut frames = Vec::new();
        while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).zeroed()) {
            assert!(frame.content().is_filled(0, 4096, 0));
            frame.content().fill(0, 4096, 0x5a);
            frames.push(frame);
        }
        assert!(frames.len() >= 64);
    }
}

#[test]
fn the_nth_allocation_fails_and_only_that() {
    let phys = testing::boot(64);
    let request = AllocRequest::kernel(Owner::Test).silent();
    phys.fail_at(3);
    let results: Vec<bool> = (0..6).map(|_| phys.alloc(request).is_err()).collect();
    assert_eq!(results, [false, false, true, false, false, false]);
    phys.fail_at(1);
    assert_eq!(phys.alloc(request).err(), Some(AllocError::Injected));
    assert_eq!(phys.allocations(), 7);
    assert_eq!(phys.events(Event::Fail), 2);
}

#[test]
fn exact_runs_are_counted_frame_by_frame() {
    let phys = testing::boot(64);
    let run = phys.alloc_exact(AllocRequest::kernel(Owner::Test), 5).unwrap();
    assert_eq!(testing::audit(&phys).allocated, 5);
    let frames = run.into_frames();
    frames.iter().for_each(|pfn| drop(phys.adopt(pfn)));
    testing::assert_all_free(&phys);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_double_free_is_caught() {
    let phys = testing::boot(64);
    let pfn = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap().into_pfn();
    drop(phys.adopt(pfn));
    drop(phys.adopt(pfn));
}

#[test]
#[should_panic(expected = "written to while free")]
fn use_after_free_is_caught() {
    let phys = testing::boot(64);
    let pfn = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap().pfn();
    phys.content(pfn).write(100, b"x");
    let mut all = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test)) {
        all.push(frame);
    }
}

#[test]
fn a_broken_rule_is_recorded_where_tests_do_not_panic() {
    let options = BootOptions {
        on_violation: foliant_phys::boot::OnViolation::Record,
        ..BootOptions::test()
    };
    let phys = testing::boot_with(64, 1, options);
    let pfn = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap().into_pfn();
    drop(phys.adopt(pfn));
    drop(phys.adopt(pfn));
    assert_eq!(phys.events(Event::Violation), 1);
}

#[test]
fn what_is_given_back_zeroed_is_not_cleared_again() {
    for ram_is_zeroed in [false, true] {
        let options = BootOptions {
            ram_is_zeroed,
            poison: Poison::Off,
            ..BootOptions::test()
        };
        let phys = testing::boot_with(2000, 1, options);
        let zeroed = AllocRequest::kernel(Owner::Test).zeroed();
        let all = || -> Vec<Frame<'_, _>> { std::iter::from_fn(|| phys.alloc(zeroed).ok()).collect() };
        let cleared = || phys.events(Event::Zeroed);

        // Whatever RAM was, it has been used now.
        let mut frames = all();
        frames
            .iter()
            .for_each(|frame| frame.content().fill(0, 4096, 0xa5));
        for (nth, frame) in frames.drain(..).enumerate() {
            match nth % 3 {
                // Cleared by its user.
                0 => {
                    frame.content().zero();
                    frame.put_zeroed();
                }
                // Held by somebody else, too, who puts it last.
                1 => {
                    let other = frame.clone();
                    frame.content().zero();
                    frame.put_zeroed();
                    other.content().fill(0, 8, 0xff);
                }
                _ => drop(frame),
            }
            if nth % 100 == 99 {
                phys.drain_all();
            }
        }
        let before = cleared();
        let again = all();
        assert!(again.iter().all(|frame| frame.content().is_filled(0, 4096, 0)));
        let spared = again.len() as u64 - (cleared() - before);
        // In lines they are only remembered where RAM was zeroed once.
        assert_eq!(spared > 500, ram_is_zeroed, "{spared} of {}", again.len());
        drop(again);
        testing::assert_all_free(&phys);
    }
}
