//! Many threads at once, with every frame accounted for afterwards.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::thread;

use foliant_phys::boot::Poison;
use foliant_phys::{AllocRequest, BootOptions, Event, Frame, Mobility, Owner, Phys, testing};
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;
use foliant_units::{Order, Pfn};

const STEPS: u32 = 10_000;

/// Folios that threads hand to each other, so that one frees what another took.
type Market = Mutex<Vec<Pfn>>;

fn churn<const EXCLUSIVE: bool>(phys: &Phys<TestPlatform<EXCLUSIVE>>, market: &Market, seed: u64) {
    let mut random = seed | 1;
    let mut next = move |below: u64| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    let mut held: Vec<Frame<'_, _>> = Vec::new();
    for step in 0..STEPS {
        match next(10) {
            0..=4 => {
                let order = if next(50) == 0 { next(11) } else { next(4) };
                let mobility = Mobility::ALL[next(3) as usize];
                let request = AllocRequest {
                    mobility,
                    ..AllocRequest::movable(Owner::Test).silent()
                };
                if let Ok(frame) = phys.alloc(request.order(Order::new(order as u8).unwrap())) {
                    // Its own mark at both ends: nobody else may have the frame.
                    stamp(&frame, seed << 32 | u64::from(step));
                    held.push(frame);
                }
            }
            5..=7 if !held.is_empty() => {
                let at = next(held.len() as u64) as usize;
                drop(held.swap_remove(at));
            }
            8 if !held.is_empty() => {
                let at = next(held.len() as u64) as usize;
                market.lock().unwrap().push(held.swap_remove(at).into_pfn());
            }
            _ => {
                let other = market.lock().unwrap().pop();
                drop(other.map(|pfn| phys.adopt(pfn)));
            }
        }
        if held.len() > 300 {
            held.drain(..150).for_each(check);
        }
    }
    held.into_iter().for_each(check);
}

fn stamp<const EXCLUSIVE: bool>(frame: &Frame<'_, TestPlatform<EXCLUSIVE>>, mark: u64) {
    let last = frame.order().frames() - 1;
    frame
        .record()
        .private
        .store(mark, core::sync::atomic::Ordering::Relaxed);
    frame.content().store_u64(0, mark);
    frame.content_at(last).store_u64(4088, mark);
}

fn check<const EXCLUSIVE: bool>(frame: Frame<'_, TestPlatform<EXCLUSIVE>>) {
    let mark = frame.record().private.load(core::sync::atomic::Ordering::Relaxed);
    let last = frame.order().frames() - 1;
    assert_eq!(frame.content().load_u64(0), mark, "{frame:?} was given to two");
    assert_eq!(
        frame.content_at(last).load_u64(4088),
        mark,
        "{frame:?} was given to two"
    );
}

fn stress<const EXCLUSIVE: bool>(phys: Arc<Phys<TestPlatform<EXCLUSIVE>>>, threads: u32, cpus: u32) {
    let market = Market::default();
    thread::scope(|scope| {
        for at in 0..threads {
            let (phys, market) = (&phys, &market);
            scope.spawn(move || {
                phys.platform()
                    .on_cpu(CpuId(at % cpus), || churn(phys, market, u64::from(at) + 1));
            });
        }
    });
    for pfn in market.into_inner().unwrap() {
        drop(phys.adopt(pfn));
    }
    testing::assert_all_free(&phys);
    assert_eq!(phys.events(Event::Violation), 0);
}

fn options() -> BootOptions {
    BootOptions {
        poison: Poison::Off,
        ..BootOptions::test()
    }
}

#[test]
fn threads_with_a_cpu_each() {
    stress(testing::boot_with(8 * 512, 4, options()), 4, 4);
}

#[test]
fn threads_that_take_turns_on_cpus() {
    stress(testing::boot_with(8 * 512, 2, options()), 6, 2);
}

#[test]
fn threads_that_meet_on_a_cpu() {
    stress(testing::boot_shared(8 * 512, 2, options()), 6, 2);
}

#[test]
fn threads_in_want_of_memory() {
    stress(testing::boot_shared(600, 3, options()), 6, 3);
    stress(testing::boot_with(600, 3, options()), 6, 3);
}

#[test]
fn threads_over_poisoned_frames() {
    stress(testing::boot_shared(2 * 512, 2, BootOptions::test()), 4, 2);
}
