//! Many threads at once.

use core::panic::Location;

use alloc::vec::Vec;
use std::sync::Mutex;
use std::thread;

use foliant_phys::{BootOptions, testing};
use foliant_platform::testing::TestPlatform;
use foliant_platform::{CpuId, Platform};

use super::super::{CacheSpec, Debug, How, Slab};
use super::{Sent, audit, bytes, fill, gone, kfree, strict};

fn storm<const EXCLUSIVE: bool>(slab: &Slab<TestPlatform<EXCLUSIVE>>, threads: u32, cpus: u32, rounds: u32) {
    let market: Mutex<Vec<Sent>> = Mutex::default();
    let platform = slab.phys().platform();
    thread::scope(|scope| {
        for number in 0..threads {
            let market = &market;
            scope.spawn(move || {
                platform.on_cpu(CpuId(number % cpus), || {
                    for round in 0..rounds {
                        let size = [8, 64, 64, 192, 1500][((round ^ number) % 5) as usize];
                        let Ok(object) = slab.kmalloc(size, How::NOWAIT) else {
                            continue;
                        };
                        let byte = (number * 31 + round) as u8;
                        fill(object, 8, byte);
                        let mut market = market.lock().unwrap();
                        market.push(Sent(object, byte));
                        let take = if market.len() > 300 { 2 } else { round as usize % 3 };
                        for _ in 0..take.min(market.len()) {
                            let at = (round as usize * 7) % market.len();
                            let Sent(object, byte) = market.swap_remove(at);
                            assert_eq!(bytes(object, 8), [byte; 8]);
                            kfree(slab, object);
                        }
                        drop(market);
                        if round % 512 == 0 {
                            slab.shrink();
                        }
                    }
                });
            });
        }
    });
    let left = market.into_inner().unwrap();
    assert_eq!(audit(slab).in_use, left.len() as u64);
    left.into_iter().for_each(|Sent(object, _)| kfree(slab, object));
    assert_eq!(audit(slab).in_use, 0);
}

#[test]
fn objects_wander_between_cpus() {
    let phys = testing::boot_with(4096, 3, BootOptions::test());
    let slab = Slab::new(phys, strict(Debug::empty())).unwrap();
    storm(&slab, 3, 3, 4000);
    gone(slab);
}

#[test]
fn threads_meet_on_a_cpu() {
    let phys = testing::boot_shared(4096, 2, BootOptions::test());
    let slab = Slab::new(phys, strict(Debug::empty())).unwrap();
    storm(&slab, 4, 2, 4000);
    gone(slab);
}

#[test]
fn checked_caches_are_shared_too() {
    let phys = testing::boot_shared(4096, 2, BootOptions::test());
    let slab = Slab::new(phys, strict(Debug::all())).unwrap();
    storm(&slab, 3, 2, 1000);
    gone(slab);
}

#[test]
fn a_cpu_gives_back_what_it_was_asked_for_when_it_next_frees() {
    let slab = super::with_cpus(2, 1024);
    let cache = slab.create(CacheSpec::new("asked", 64)).unwrap();
    let platform = slab.phys().platform().clone();
    let (one, two) = platform.on_cpu(CpuId(1), || {
        let one = cache.alloc(How::KERNEL).unwrap();
        let two = cache.alloc(How::KERNEL).unwrap();
        super::free(&cache, one);
        (one, two)
    });
    assert_ne!(one, two);
    platform.on_cpu(CpuId(0), || cache.shrink());
    assert!(cache.audit(&mut |_| ()).at_hand > 0, "CPU 1 has them still");
    platform.on_cpu(CpuId(1), || super::free(&cache, two));
    assert_eq!(
        cache.audit(&mut |_| ()).at_hand,
        1,
        "all but the one that was freed"
    );
    drop(cache);
    gone(slab);
    let _ = platform.cpus();
}

/// Who finds its CPU's area in use goes the long way, and may find it full when
/// it gets there.
#[test]
fn an_area_that_was_in_use_may_be_full() {
    let slab = super::with_cpus(1, 512);
    let cache = slab.create(CacheSpec::new("busy", 64)).unwrap();
    let objects: Vec<_> = (0..200).map(|_| cache.alloc(How::KERNEL).unwrap()).collect();
    objects.into_iter().for_each(|object| super::free(&cache, object));
    let first = cache.alloc_slowly(How::KERNEL, Location::caller()).unwrap();
    super::audit(&slab);
    super::free(&cache, first.0);
    drop(cache);
    assert_eq!(super::audit(&slab).in_use, 0);
    super::gone(slab);
}
