//! Machines of every shape: very large, very many, and with maps that make no sense.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::time::Duration;

use foliant_phys::boot::{
    BiosData, CrashKernel, Dialect, EarlyBoot, KernelImage, Log, MachineKind, MapEntry, RegionKind,
    Reservations,
};
use foliant_phys::{AddError, AllocRequest, BootError, BootOptions, MemoryMap, NewMemory, OnlineTo, Owner};
use foliant_soft::{SoftConfig, SoftMachine};
use foliant_units::{Pfn, PfnRange, PhysAddr, PhysRange};

const GIB: u64 = 1 << 30;
const KIND: MachineKind = MachineKind::X86_64 { physical_bits: 46 };

fn machine(ram: u64) -> SoftMachine {
    let config = SoftConfig {
        ram,
        cpus: 1,
        tags: 8,
        ..SoftConfig::default()
    };
    SoftMachine::try_new(config).unwrap()
}

fn ram(start: u64, end: u64) -> MapEntry {
    MapEntry::sized(PhysAddr::new(start), end - start, RegionKind::Usable).unwrap()
}

#[test]
fn four_tebibytes_with_holes_boot_in_under_five_seconds() {
    // 1 GiB, 1 GiB hole, 6 GiB, and so on, and a last TiB without holes.
    let mut map = MemoryMap::<1200>::with_room();
    for at in 0..384 {
        map.add(ram(at * 8 * GIB, at * 8 * GIB + GIB)).unwrap();
        map.add(ram(at * 8 * GIB + 2 * GIB, (at + 1) * 8 * GIB)).unwrap();
    }
    map.add(ram(3072 * GIB, 4096 * GIB)).unwrap();
    let soft = machine(4096 * GIB);
    let start = on_cpu();
    let phys = soft.boot_map(&map, BootOptions::default()).unwrap();
    let took = on_cpu() - start;
    eprintln!("4 TiB booted in {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");

    // Records are for the sections with RAM only.
    let frames = (384 * 7 + 1024) * (GIB >> 12);
    let stats = phys.stats();
    let tables = frames - stats.total;
    assert!(tables * 4096 < frames * 64 + GIB, "{tables} frames of tables");
    assert!(phys.find_record(Pfn::new((3 * GIB) >> 12)).is_some());
    assert!(phys.find_record(Pfn::new(GIB >> 12)).is_none());
    let frame = phys.alloc(AllocRequest::kernel(Owner::Test).zeroed()).unwrap();
    frame.content().write(0, b"high");
    assert!(frame.pfn().base().raw() >= 4 * GIB);
}

#[test]
fn holes_everywhere_leave_no_room_for_one_table_and_none_is_needed() {
    // Nowhere are there more than 7 GiB side by side; records take 56 GiB.
    let mut map = MemoryMap::<1200>::with_room();
    for at in 0..512 {
        map.add(ram(at * 8 * GIB + GIB, (at + 1) * 8 * GIB)).unwrap();
    }
    let soft = machine(4096 * GIB);
    let start = on_cpu();
    let phys = soft.boot_map(&map, BootOptions::default()).unwrap();
    let took = on_cpu() - start;
    eprintln!("4 TiB with holes everywhere booted in {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");

    let frames = 512 * 7 * (GIB >> 12);
    let tables = frames - phys.stats().total;
    assert!(tables * 4096 < frames * 64 + GIB, "{tables} frames of tables");
    for at in [0, 1, 255, 511] {
        let start = (at * 8 * GIB) >> 12;
        assert!(phys.find_record(Pfn::new(start)).is_none());
        assert!(phys.peek_record(Pfn::new(start + (GIB >> 12))).is_some());
        assert!(
            phys.peek_record(Pfn::new(start + ((8 * GIB) >> 12) - 1))
                .is_some()
        );
    }
    let held: Vec<_> = (0..100_000)
        .map(|_| phys.alloc(AllocRequest::movable(Owner::Test)).unwrap())
        .collect();
    assert!(
        held.iter()
            .all(|frame| phys.record(frame.pfn()).owner() == Owner::Test)
    );
}

#[test]
fn a_machine_gets_memory_while_it_runs_but_only_such_as_it_has() {
    let options = BootOptions {
        hotplug_below: 64 * GIB,
        ..BootOptions::default()
    };
    let soft = machine(32 * GIB);
    let mut map = MemoryMap::<8>::with_room();
    map.add(ram(0, GIB)).unwrap();
    let phys = soft.boot_map(&map, options).unwrap();
    let frames = |from: u64, to: u64| {
        let frame = |gib: u64| PhysAddr::new(gib * GIB).frame();
        NewMemory {
            is_zeroed: true,
            ..NewMemory::new(PfnRange::new(frame(from), frame(to)))
        }
    };
    phys.set_auto_online(Some(OnlineTo::Movable));
    let before = phys.stats().total;
    phys.add_memory(frames(8, 16)).unwrap();
    assert_eq!(phys.add_memory(frames(30, 34)), Err(AddError::NotThisRam));
    assert_eq!(phys.stats().total - before, (8 * GIB) >> 12);
    let frame = phys.alloc(AllocRequest::movable(Owner::Test).zeroed()).unwrap();
    assert!(frame.pfn().base().raw() >= 8 * GIB);
    // The kernel's own memory stays where it was.
    let kernel = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
    assert!(kernel.pfn().base().raw() < GIB);

    map.add(ram(30 * GIB, 34 * GIB)).unwrap();
    let refused = machine(32 * GIB).boot_map(&map, BootOptions::default()).err();
    assert_eq!(refused, Some(BootError::NotThisRam));
}

#[test]
fn hostile_maps_make_a_machine_or_a_clear_error() {
    let soft_ram = 8192 * GIB;
    let (mut booted, mut refused) = (0, 0);
    for seed in 0..200 {
        match boot_random(seed, soft_ram) {
            Ok(()) => booted += 1,
            Err(why) => {
                assert!(!why.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(booted > 20 && refused > 20, "{booted} booted, {refused} refused");
}

fn boot_random(seed: u64, soft_ram: u64) -> Result<(), BootError> {
    let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let state = Cell::new(state);
    let random = |below: u64| {
        let next = state.get().wrapping_mul(6364136223846793005);
        state.set(next.wrapping_add(1442695040888963407));
        (state.get() >> 20) % below
    };
    let mut bytes = Vec::new();
    let entries = [1, 3, 8, 100][random(4) as usize];
    for _ in 0..entries {
        let scale = 10 + random(if random(16) == 0 { 54 } else { 22 });
        let start = random(1 << scale) & if random(2) == 0 { !0 } else { !0xfff };
        let size = match random(8) {
            0 => 0,
            1 => u64::MAX - random(1 << 20),
            _ => random(1 << (10 + random(22))),
        };
        bytes.extend(start.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(
            [1, 1, 1, 1, 1, 2, 3, 4, 5, 7, 12, 99][random(12) as usize]
                .min(255u32)
                .to_le_bytes(),
        );
    }
    let map = MemoryMap::<128>::from_e820(&bytes)?;
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let soft = machine(soft_ram);
    let mut early = EarlyBoot::new(&soft, KIND, Dialect::Linux618, &map, &mut log)?;
    if early.map().end_of_ram(Pfn::new(u64::MAX)).base().raw() > soft_ram {
        return Err(BootError::TooHigh);
    }
    let range = |start: u64, size: u64| PhysRange::sized(PhysAddr::new(start), size);
    let what = Reservations {
        kernel: KernelImage::sized(PhysAddr::new(random(1 << 30)), random(1 << 26)),
        initrd: range(random(1 << 31), random(1 << (10 + random(30)))),
        bios: BiosData {
            conventional_kib: random(700) as u16,
            ebda_segment: random(1 << 16) as u16,
        },
    };
    early.add_ram()?;
    early.reserve(&what)?;
    early.announce_initrd(&what, &mut log);
    if random(4) == 0 {
        // Over everything.
        early
            .memblock
            .reserve(PhysRange::new(PhysAddr::ZERO, PhysAddr::new(u64::MAX)))?;
    }
    early.announce_zones(&mut log);
    early.announce_gap(&mut log);
    let crash = CrashKernel {
        size: random(1 << 30),
        at: (random(2) == 0).then(|| PhysAddr::new(random(u64::MAX))),
    };
    early.reserve_crash_kernel(crash, &mut log);
    assert!(early.memblock.audit());
    let free: u64 = early.memblock.free_ranges().map(|free| free.range.len()).sum();
    let phys = soft.take_over(early.memblock, BootOptions::default())?;
    assert!(phys.stats().free * 4096 <= free + (1 << 20));
    Ok(())
}

/// How long this thread ran: other programs on the host do not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
