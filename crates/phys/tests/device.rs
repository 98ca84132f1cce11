//! Memory of devices: frames that are counted and never given out.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use foliant_phys::{
    AddError, AllocRequest, BootOptions, Census, DeviceError, DeviceKind, DeviceMemory, DeviceOps, Event,
    MemoryMap, NewMemory, OnlineTo, Owner, Phys, RecordsIn, SECTION, SectionState, ZoneKind, testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Order, Pfn, PfnRange, PhysAddr, PhysRange};

type Machine = Phys<TestPlatform>;

const BLOCK: u64 = 512;
/// Where RAM ends: within section 1.
const RAM: u64 = SECTION + 8 * BLOCK;
/// Sections that there can be.
const ROOM: u64 = 5;

fn boot_with(options: BootOptions) -> Machine {
    let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(RAM << 12));
    let platform = TestPlatform::new(((ROOM * SECTION) << 12) as usize, 1);
    let options = BootOptions {
        hotplug_below: ((ROOM + 1) * SECTION) << 12,
        ..options
    };
    Phys::boot(platform, &MemoryMap::ram(ram), options).unwrap()
}

fn boot() -> Machine {
    boot_with(BootOptions::test())
}

fn frames(start: u64, end: u64) -> PfnRange {
    PfnRange::new(Pfn::new(start), Pfn::new(end))
}

fn section(at: u64) -> PfnRange {
    frames(at * SECTION, (at + 1) * SECTION)
}

/// A driver that remembers what came back.
#[derive(Default)]
struct Driver(Mutex<Vec<(Pfn, u8)>>);

impl DeviceOps for Driver {
    fn freed(&self, pfn: Pfn, order: Order) {
        self.0.lock().unwrap().push((pfn, order.raw()));
    }
}

fn memory(frames: PfnRange, kind: DeviceKind, driver: &Arc<Driver>) -> DeviceMemory {
    DeviceMemory {
        ops: Some(driver.clone()),
        ..DeviceMemory::new(frames, kind)
    }
}

fn census(phys: &Machine) -> Census {
    phys.drain_all();
    testing::audit(phys)
}

#[test]
fn a_devices_frames_are_counted_and_come_back_to_their_driver() {
    for kind in [DeviceKind::Private, DeviceKind::Coherent, DeviceKind::FsDax] {
        let phys = boot();
        let before = (census(&phys), phys.stats());
        let driver = Arc::new(Driver::default());
        let map = phys.map_device(memory(section(2), kind, &driver)).unwrap();
        let pfn = map.frames().start + 8;
        assert!(phys.is_device(pfn) && !phys.is_ram(pfn) && !phys.is_online(pfn));
        assert!(phys.find_record(pfn).is_some() && phys.find_record(section(3).start).is_none());
        assert_eq!(
            phys.zones().get(phys.zone_of(pfn).unwrap()).kind(),
            ZoneKind::Device
        );
        assert_eq!(
            phys.section_state(pfn),
            SectionState::Absent,
            "no RAM goes on- or offline"
        );
        assert_eq!(phys.find_content(pfn).is_some(), kind != DeviceKind::Private);

        assert!(phys.try_get(pfn).is_none(), "nobody has it");
        let frame = phys.take_device(pfn, Order::ZERO).unwrap();
        assert!(phys.take_device(pfn, Order::ZERO).is_none(), "somebody has it");
        assert_eq!((frame.record().owner(), map.taken()), (Owner::Device, 1));
        let other = phys.try_get(pfn).unwrap();
        drop(frame);
        assert!(driver.0.lock().unwrap().is_empty());
        drop(other);
        assert_eq!(driver.0.lock().unwrap().as_slice(), [(pfn, 0)]);

        // A large folio is taken as one and found from its tails.
        let folio = phys.take_device(pfn, Order::new(3).unwrap()).unwrap();
        assert_eq!(phys.head(pfn + 5), pfn);
        assert!(phys.take_device(pfn + 5, Order::ZERO).is_none());
        assert_eq!(phys.unmap_device(&map), Err(DeviceError::Busy(1)));
        testing::audit(&phys);
        drop(folio);
        assert_eq!(driver.0.lock().unwrap().last(), Some(&(pfn, 3)));

        phys.unmap_device(&map).unwrap();
        assert_eq!(phys.unmap_device(&map), Err(DeviceError::NotMapped));
        assert!(phys.take_device(pfn, Order::ZERO).is_none() && phys.find_record(pfn).is_none());
        assert_eq!((census(&phys), phys.stats()), before);
    }
}

#[test]
fn generic_memory_can_be_found_at_any_time() {
    let phys = boot();
    let map = phys
        .map_device(DeviceMemory::new(section(2), DeviceKind::Generic))
        .unwrap();
    let pfn = map.frames().start;
    assert!(phys.take_device(pfn, Order::ZERO).is_none());
    let mapped = phys.try_get(pfn).unwrap();
    mapped.content().write(0, b"device");
    assert_eq!(phys.unmap_device(&map), Err(DeviceError::Busy(1)));
    drop(mapped);
    assert!(phys.try_get(pfn).is_some(), "a busy map stays as it was");
    phys.unmap_device(&map).unwrap();
    assert!(phys.try_get(pfn).is_none());
    testing::assert_all_free(&phys);
}

#[test]
fn the_allocator_never_gives_a_devices_frame() {
    let phys = boot();
    let driver = Arc::new(Driver::default());
    phys.map_device(memory(section(2), DeviceKind::Coherent, &driver))
        .unwrap();
    let zone = phys
        .zones()
        .iter()
        .find(|(_, zone)| zone.kind() == ZoneKind::Device);
    let (_, zone) = zone.unwrap();
    assert_eq!((zone.span(), zone.present(), zone.managed()), (section(2), 0, 0));
    for kind in ZoneKind::ALL {
        let request = AllocRequest::movable(Owner::Test).zone(kind).silent();
        let held: Vec<_> = core::iter::from_fn(|| phys.alloc(request).ok()).collect();
        assert!(held.iter().all(|frame| frame.pfn().raw() < RAM), "{kind:?}");
    }
    assert_eq!(phys.events(Event::Violation), 0);
}

#[test]
fn memory_can_share_a_section_with_ram_and_with_other_devices() {
    let phys = boot();
    let driver = Arc::new(Driver::default());
    let before = census(&phys);
    // Behind the end of RAM, over the border of a section, and behind that.
    let one = phys.map_device(memory(frames(RAM, RAM + BLOCK), DeviceKind::FsDax, &driver));
    let border = frames(2 * SECTION - BLOCK, 2 * SECTION + BLOCK);
    let two = phys
        .map_device(memory(border, DeviceKind::Private, &driver))
        .unwrap();
    let rest = frames(border.end.raw(), 3 * SECTION);
    let three = phys
        .map_device(memory(rest, DeviceKind::Coherent, &driver))
        .unwrap();
    let one = one.unwrap();
    let frame = phys.take_device(one.frames().start, Order::ZERO).unwrap();
    phys.unmap_device(&two).unwrap();
    assert!(phys.take_device(border.start, Order::ZERO).is_none());
    assert!(
        phys.take_device(rest.start, Order::ZERO).is_some(),
        "its records stay"
    );
    assert_eq!(
        phys.add_memory(NewMemory::new(section(2))),
        Err(AddError::Exists),
        "a device is there"
    );
    drop(frame);
    phys.unmap_device(&three).unwrap();
    phys.unmap_device(&one).unwrap();
    assert_eq!(census(&phys), before);
    phys.add_memory(NewMemory::new(section(2))).unwrap();
    phys.online_section(section(2).start, OnlineTo::Default).unwrap();
    testing::assert_all_free(&phys);
}

#[test]
fn records_can_lie_in_the_devices_memory() {
    let phys = boot();
    let before = census(&phys);
    let driver = Arc::new(Driver::default());
    let two = frames(2 * SECTION, 4 * SECTION);
    let own = DeviceMemory {
        records: RecordsIn::NewMemory,
        ..memory(two, DeviceKind::FsDax, &driver)
    };
    let map = phys.map_device(own.clone()).unwrap();
    assert_eq!(map.usable(), frames(2 * SECTION + 2 * BLOCK, 4 * SECTION));
    assert_eq!(census(&phys), before, "nothing of RAM was needed");
    assert!(phys.take_device(two.start, Order::ZERO).is_none());
    assert!(
        phys.find_content(two.start).is_none(),
        "records are nobody's to write"
    );
    drop(phys.take_device(map.usable().start, Order::ZERO).unwrap());
    drop(phys.take_device(two.start + (SECTION + 7), Order::ZERO).unwrap());
    phys.unmap_device(&map).unwrap();
    let private = DeviceMemory {
        kind: DeviceKind::Private,
        ..own
    };
    assert_eq!(
        phys.map_device(private).err(),
        Some(DeviceError::NoRoomForRecords)
    );
    assert_eq!(census(&phys), before);
}

#[test]
fn whichever_allocation_fails_no_device_is_mapped() {
    let phys = boot();
    let driver = Arc::new(Driver::default());
    let before = census(&phys);
    let all = memory(frames(2 * SECTION, 5 * SECTION), DeviceKind::Private, &driver);
    let mut failures = 0;
    for nth in 1.. {
        phys.fail_at(nth);
        let result = phys.map_device(all.clone());
        phys.fail_at(0);
        let Err(error) = result else { break };
        assert_eq!(error, DeviceError::OutOfMemory);
        failures += 1;
        assert_eq!(census(&phys), before);
        assert!(!phys.is_device(all.frames.start) && phys.find_record(all.frames.start).is_none());
    }
    assert_eq!(failures, 3, "records of three sections");
}

#[test]
fn nonsense_is_refused() {
    let phys = boot();
    let driver = Arc::new(Driver::default());
    let map = |frames| {
        phys.map_device(memory(frames, DeviceKind::Coherent, &driver))
            .err()
    };
    assert_eq!(
        map(frames(2 * SECTION, 2 * SECTION)),
        Some(DeviceError::Unaligned)
    );
    assert_eq!(
        map(frames(2 * SECTION + 1, 3 * SECTION)),
        Some(DeviceError::Unaligned)
    );
    assert_eq!(map(frames(5 * SECTION, 7 * SECTION)), Some(DeviceError::TooHigh));
    assert_eq!(map(section(5)), Some(DeviceError::Unreachable));
    let beyond = memory(section(5), DeviceKind::Private, &driver);
    phys.unmap_device(&phys.map_device(beyond).unwrap()).unwrap();
    assert_eq!(map(frames(RAM - BLOCK, RAM + BLOCK)), Some(DeviceError::Ram));
    let silent = DeviceMemory::new(section(2), DeviceKind::Private);
    assert_eq!(phys.map_device(silent).err(), Some(DeviceError::NoOps));
    assert_eq!(map(section(2)), None);
    assert_eq!(map(section(2)), Some(DeviceError::Exists));
    let errno = [
        DeviceError::Ram.errno(),
        DeviceError::Exists.errno(),
        DeviceError::Unaligned.errno(),
    ];
    assert_eq!(errno, [Errno::NXIO, Errno::NOMEM, Errno::INVAL]);
    let ram_only = testing::boot(64);
    let nowhere = DeviceMemory::new(section(0), DeviceKind::FsDax);
    assert!(ram_only.map_device(nowhere).is_err());
}

#[test]
fn threads_take_and_put_a_devices_frames() {
    let phys = boot();
    let driver = Arc::new(Driver::default());
    let map = phys
        .map_device(memory(section(2), DeviceKind::FsDax, &driver))
        .unwrap();
    let start = map.frames().start;
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let phys = &phys;
            scope.spawn(move || {
                for at in 0..2000 {
                    let pfn = start + (at * (thread + 1)) % 64;
                    let frame = phys.take_device(pfn, Order::ZERO).or_else(|| phys.try_get(pfn));
                    drop(frame);
                }
            });
        }
    });
    assert_eq!(map.taken(), 0);
    phys.unmap_device(&map).unwrap();
    testing::assert_all_free(&phys);
}
