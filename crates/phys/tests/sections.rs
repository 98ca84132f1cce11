//! Sections that go out of use and come back.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;

use foliant_phys::{
    AllocRequest, BootOptions, ContigError, Migrator, Moved, OnlineTo, Owner, Phys, SECTION, SectionError,
    SectionState, testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::Pfn;

/// Moves frames that it knows and that carry nothing.
struct Users<'a> {
    phys: &'a Phys<TestPlatform>,
    used: Mutex<Vec<Pfn>>,
}

impl Migrator for Users<'_> {
    fn migrate(&self, from: Pfn, to: Pfn) -> Moved {
        let mut used = self.used.lock().unwrap();
        match used.iter_mut().find(|pfn| **pfn == from) {
            Some(pfn) => {
                *pfn = to;
                drop(self.phys.adopt(from));
                Moved::Yes
            }
            None => Moved::No,
        }
    }
}

#[test]
fn a_section_goes_offline_with_its_users_moved_and_comes_back() {
    let options = BootOptions {
        poison: foliant_phys::boot::Poison::Off,
        ..BootOptions::test()
    };
    let phys = testing::boot_with(3 * SECTION, 1, options);
    let users = Users {
        phys: &phys,
        used: Mutex::default(),
    };
    let section = Pfn::new(SECTION);
    let request = AllocRequest::movable(Owner::Test);
    // Every frame is used once, then most are freed: some users are everywhere.
    let mut all: Vec<_> = core::iter::from_fn(|| phys.alloc(request.silent()).ok()).collect();
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        at % 64 == 0
    });
    users
        .used
        .lock()
        .unwrap()
        .extend(all.into_iter().map(|frame| frame.into_pfn()));
    assert!(
        users
            .used
            .lock()
            .unwrap()
            .iter()
            .any(|&pfn| pfn.align_down(SECTION) == section)
    );

    let total = phys.stats().total;
    assert_eq!(phys.section_state(section), SectionState::Online);
    phys.offline_section(section, &users).unwrap();
    assert_eq!(phys.section_state(section), SectionState::Offline);
    assert_eq!(phys.stats().total, total - SECTION);
    assert_eq!(phys.offline_section(section, &users), Err(SectionError::Already));
    let census = testing::audit(&phys);
    assert_eq!(census.allocated, users.used.lock().unwrap().len() as u64);

    // Nobody gets any of it.
    let mut held: Vec<_> = core::iter::from_fn(|| phys.alloc(request.silent()).ok()).collect();
    assert!(
        held.iter()
            .all(|frame| frame.pfn().align_down(SECTION) != section)
    );
    phys.online_section(section, OnlineTo::Default).unwrap();
    assert_eq!(
        (phys.stats().total, phys.section_state(section)),
        (total, SectionState::Online)
    );
    held.extend(core::iter::from_fn(|| phys.alloc(request.silent()).ok()));
    assert!(
        held.iter()
            .any(|frame| frame.pfn().align_down(SECTION) == section)
    );

    drop(held);
    users
        .used
        .lock()
        .unwrap()
        .drain(..)
        .for_each(|pfn| drop(phys.adopt(pfn)));
    testing::assert_all_free(&phys);
}

#[test]
fn a_section_with_something_that_stays_stays_online() {
    let options = BootOptions {
        poison: foliant_phys::boot::Poison::Off,
        ..BootOptions::test()
    };
    let phys = testing::boot_with(2 * SECTION, 1, options);
    let users = Users {
        phys: &phys,
        used: Mutex::default(),
    };
    let zones = phys.offline_section(Pfn::new(0), &users);
    assert_eq!(zones, Err(SectionError::ManyZones), "DMA and DMA32");
    let holes = phys.offline_section(Pfn::new(2 * SECTION), &users);
    assert_eq!(holes, Err(SectionError::Holes), "where RAM ends");
    assert_eq!(
        phys.offline_section(Pfn::new(1 << 25), &users),
        Err(SectionError::Absent)
    );
    let mut pins: Vec<_> =
        core::iter::from_fn(|| phys.alloc(AllocRequest::kernel(Owner::Test).silent()).ok()).collect();
    pins.retain(|pin| pin.pfn() == Pfn::new(SECTION + 20_000));
    let pin = pins.pop().unwrap();
    let failed = phys.offline_section(pin.pfn(), &users);
    assert_eq!(failed, Err(SectionError::Contig(ContigError::Busy(pin.pfn()))));
    assert_eq!(phys.section_state(pin.pfn()), SectionState::Online);
    testing::audit(&phys);
    drop(pin);
    phys.offline_section(Pfn::new(SECTION), &users).unwrap();
    phys.online_section(Pfn::new(SECTION), OnlineTo::Default).unwrap();
    testing::assert_all_free(&phys);
}
