//! What happens when memory is short.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use foliant_phys::boot::MinFree;
use foliant_phys::{
    AllocError, AllocRequest, BootOptions, Effort, Event, OomVerdict, Owner, Phys, Progress, Reclaimer,
    testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Order, Pfn};

type Machine = Arc<Phys<TestPlatform>>;

/// Frees frames from a hoard; afterwards "kills" as often as it was told to.
struct Hoard {
    phys: Machine,
    frames: Mutex<Vec<Pfn>>,
    kills: AtomicU32,
    woken: AtomicU32,
}

impl Hoard {
    fn new(phys: &Machine, frames: usize, kills: u32) -> Arc<Self> {
        let request = AllocRequest::movable(Owner::Test).silent();
        let hoarded = (0..frames)
            .map(|_| phys.alloc(request).unwrap().into_pfn())
            .collect();
        let hoard = Arc::new(Self {
            phys: phys.clone(),
            frames: Mutex::new(hoarded),
            kills: AtomicU32::new(kills),
            woken: AtomicU32::new(0),
        });
        phys.set_reclaimer(Some(hoard.clone()));
        hoard
    }

    fn free(&self, count: usize) -> usize {
        let mut frames = self.frames.lock().unwrap();
        let keep = frames.len().saturating_sub(count);
        let freed = frames.split_off(keep);
        freed.iter().for_each(|&pfn| drop(self.phys.adopt(pfn)));
        freed.len()
    }
}

impl Reclaimer for Hoard {
    fn wake(&self, _: &AllocRequest) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }

    fn reclaim(&self, _: &AllocRequest) -> Progress {
        if self.free(4) > 0 {
            Progress::Some
        } else {
            Progress::None
        }
    }

    fn out_of_memory(&self, _: &AllocRequest) -> OomVerdict {
        match self
            .kills
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        {
            Ok(_) => OomVerdict::Retry,
            Err(_) => OomVerdict::GiveUp,
        }
    }
}

fn fill(phys: &Machine, request: AllocRequest) -> Vec<Pfn> {
    core::iter::from_fn(|| phys.alloc(request.silent()).ok())
        .map(|frame| frame.into_pfn())
        .collect()
}

fn empty(phys: &Machine, frames: Vec<Pfn>) {
    frames.into_iter().for_each(|pfn| drop(phys.adopt(pfn)));
}

#[test]
fn those_who_may_sleep_get_what_reclaim_frees() {
    let phys = testing::boot(256);
    let hoard = Hoard::new(&phys, 100, 0);
    let frames = fill(&phys, AllocRequest::kernel(Owner::Test));
    assert!(hoard.frames.lock().unwrap().is_empty());
    assert_eq!(frames.len() as u64, phys.stats().total);
    assert!(phys.events(Event::Stall) > 0 && hoard.woken.load(Ordering::Relaxed) > 0);
    empty(&phys, frames);
    testing::assert_all_free(&phys);
    phys.set_reclaimer(None);
}

#[test]
fn those_who_may_not_sleep_fail_without_reclaim() {
    let phys = testing::boot(256);
    let hoard = Hoard::new(&phys, 100, 0);
    let frames = fill(&phys, AllocRequest::kernel(Owner::Test).effort(Effort::NoWait));
    assert_eq!(hoard.frames.lock().unwrap().len(), 100);
    assert_eq!(phys.events(Event::Stall), 0);
    hoard.free(100);
    empty(&phys, frames);
    testing::assert_all_free(&phys);
    phys.set_reclaimer(None);
}

#[test]
fn the_killer_is_asked_for_small_orders_only() {
    let phys = testing::boot(256);
    let hoard = Hoard::new(&phys, 0, 3);
    let frames = fill(
        &phys,
        AllocRequest::kernel(Owner::Test).effort(Effort::RetryMayFail),
    );
    assert_eq!(hoard.kills.load(Ordering::Relaxed), 3);
    let large = AllocRequest::kernel(Owner::Test).order(Order::new(4).unwrap());
    assert_eq!(phys.alloc(large).err(), Some(AllocError::OutOfMemory));
    assert_eq!(hoard.kills.load(Ordering::Relaxed), 3);
    assert!(phys.alloc(AllocRequest::kernel(Owner::Test)).is_err());
    assert_eq!(hoard.kills.load(Ordering::Relaxed), 0);
    empty(&phys, frames);
    phys.set_reclaimer(None);
}

#[test]
fn those_who_cannot_fail_use_the_reserve_and_then_the_killer() {
    let options = BootOptions {
        min_free: MinFree::Kib(400),
        ..BootOptions::test()
    };
    let phys = testing::boot_with(1000, 1, options);
    let hoard = Hoard::new(&phys, 0, 2);
    let request = AllocRequest::kernel(Owner::Test).silent();
    let ordinary = fill(&phys, request.effort(Effort::RetryMayFail));
    let must = phys.alloc(request.effort(Effort::NoFail)).unwrap();
    assert_eq!(hoard.kills.load(Ordering::Relaxed), 2, "the reserve was enough");
    let reserve = fill(&phys, request.effort(Effort::Reserves));
    assert!(phys.alloc(request.effort(Effort::NoFail)).is_err());
    assert_eq!(hoard.kills.load(Ordering::Relaxed), 0, "everybody was killed");
    drop(must);
    empty(&phys, ordinary);
    empty(&phys, reserve);
    testing::assert_all_free(&phys);
    phys.set_reclaimer(None);
}

#[test]
fn each_effort_digs_to_its_own_depth() {
    let options = BootOptions {
        min_free: MinFree::Kib(400),
        ..BootOptions::test()
    };
    let phys = testing::boot_with(1000, 1, options);
    let (_, zone) = phys.zones().iter().next().unwrap();
    let min = zone.watermarks().min;
    assert_eq!(min, 100);

    let request = AllocRequest::kernel(Owner::Test);
    let left = |effort| {
        let frames = fill(&phys, request.effort(effort));
        let left = phys.stats().free;
        empty(&phys, frames);
        left
    };
    assert_eq!(left(Effort::NoWait), min);
    assert_eq!(left(Effort::MayReclaim), min);
    assert_eq!(left(Effort::Atomic), min / 2 - min / 8);
    assert_eq!(left(Effort::Reserves), 0);
}

#[test]
fn whichever_allocation_fails_nothing_is_lost() {
    let scenario = |phys: &Machine| -> Result<(), AllocError> {
        let kernel = AllocRequest::kernel(Owner::Test).silent();
        let first = phys.alloc(kernel.zeroed())?;
        let run = phys.alloc_exact(kernel, 5)?;
        let mut bulk = Vec::new();
        let got = phys.alloc_bulk(AllocRequest::movable(Owner::Test).silent(), 8, |frame| {
            bulk.push(frame)
        })?;
        let large = phys.alloc(kernel.order(Order::new(4).unwrap()))?;
        let shared = large.clone();
        drop((first, run, large));
        drop(shared);
        if got < 8 {
            Err(AllocError::Injected)
        } else {
            Ok(())
        }
    };
    let phys = testing::boot(256);
    let mut failures = 0;
    for nth in 1.. {
        phys.fail_at(nth);
        let result = scenario(&phys);
        phys.fail_at(0);
        testing::assert_all_free(&phys);
        match result {
            Ok(()) => break,
            Err(_) => failures += 1,
        }
    }
    assert_eq!(failures, 11);
}
