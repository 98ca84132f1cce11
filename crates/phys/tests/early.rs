//! The log of an early boot, line by line, against what Linux 6.18 printed on
//! a virtual machine with the same map.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_phys::boot::{
    CrashKernel, Dialect, EarlyBoot, KernelImage, Log, MachineKind, Reservations, resources,
};
use foliant_phys::{BootError, MemoryMap};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Pfn, PhysAddr, PhysRange};

const KIND: MachineKind = MachineKind::X86_64 { physical_bits: 46 };

const MAP: &str = "\
BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
BIOS-e820: [mem 0x000000000009fc00-0x00000000000fffff] reserved
BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable
BIOS-e820: [mem 0x00000000eec00000-0x00000000febfffff] reserved
BIOS-e820: [mem 0x0000000100000000-0x000000063fffffff] usable
";

const LOG: &str = "\
e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
e820: remove [mem 0x000a0000-0x000fffff] usable
last_pfn = 0x640000 max_arch_pfn = 0x400000000
last_pfn = 0xc0000 max_arch_pfn = 0x400000000
RAMDISK: [mem 0xbf8e0000-0xbfffffff]
Zone ranges:
  DMA      [mem 0x0000000000001000-0x0000000000ffffff]
  DMA32    [mem 0x0000000001000000-0x00000000ffffffff]
  Normal   [mem 0x0000000100000000-0x000000063fffffff]
Movable zone start for each node
Early memory node ranges
  node   0: [mem 0x0000000000001000-0x000000000009efff]
  node   0: [mem 0x0000000000100000-0x00000000bfffffff]
  node   0: [mem 0x0000000100000000-0x000000063fffffff]
Initmem setup node 0 [mem 0x0000000000001000-0x000000063fffffff]
On node 0, zone DMA: 1 pages in unavailable ranges
On node 0, zone DMA: 97 pages in unavailable ranges
[mem 0xc0000000-0xeebfffff] available for PCI devices
";

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

#[test]
fn the_log_is_the_kernels_line_by_line() {
    let map = MemoryMap::<16>::from_log(MAP).unwrap();
    let platform = TestPlatform::<true>::new(1 << 20, 1);
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let mut early = EarlyBoot::new(&platform, KIND, Dialect::Linux618, &map, &mut log).unwrap();
    early.add_ram().unwrap();
    let what = Reservations {
        initrd: Some(range(0xbf8e_0000, 0xc000_0000)),
        ..Reservations::default()
    };
    assert_eq!(early.reserve(&what), Ok(what.initrd));
    early.announce_initrd(&what, &mut log);
    early.announce_zones(&mut log);
    early.announce_gap(&mut log);

    assert_eq!(out, format!("BIOS-provided physical RAM map:\n{MAP}{LOG}"));
    assert_eq!(early.limits().max_pfn, Pfn::new(0x640000));
    assert_eq!(early.limits().max_low_pfn, Pfn::new(0xc0000));
    // As it said in "Total pages".
    assert_eq!(early.present_frames(), 6291358);
    for taken in [range(0, 0x10000), range(0x9f000, 0x100000), what.initrd.unwrap()] {
        assert!(early.memblock.reserved().any(|range| range.covers(taken)));
    }
}

#[test]
fn a_32_bit_machine_splits_ram_into_low_and_high() {
    let map = MemoryMap::ram(range(0, 2 << 30));
    let platform = TestPlatform::<true>::new(1 << 20, 1);
    let kind = MachineKind::I386 {
        pae: false,
        lowmem: Pfn::new(0x377fe),
    };
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let mut early = EarlyBoot::new(&platform, kind, Dialect::Linux44, &map, &mut log).unwrap();
    early.add_ram().unwrap();
    early.announce_zones(&mut log);
    assert_eq!(early.limits().max_low_pfn, Pfn::new(0x377fe));
    assert!(out.contains("e820: last_pfn = 0x80000 max_arch_pfn = 0x100000\n"));
    assert!(out.contains(
        "  Normal   [mem 0x0000000001000000-0x00000000377fdfff]\n  \
           HighMem  [mem 0x00000000377fe000-0x000000007fffffff]\n"
    ));
}

#[test]
fn the_initrd_and_the_crash_kernel_need_ram() {
    let bytes = 512 << 20;
    let map = MemoryMap::ram(range(0, bytes));
    let platform = TestPlatform::<true>::new(bytes as usize, 1);
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let mut early = EarlyBoot::new(&platform, KIND, Dialect::Linux618, &map, &mut log).unwrap();
    early.add_ram().unwrap();
    let what = Reservations {
        initrd: Some(range(bytes - 4096, bytes + 4096)),
        kernel: KernelImage::sized(PhysAddr::new(16 << 20), 32 << 20),
        ..Reservations::default()
    };
    assert_eq!(early.reserve(&what), Ok(None));
    early.announce_initrd(&what, &mut log);
    let crash = |size: u64, at: Option<u64>| CrashKernel {
        size: size << 20,
        at: at.map(|mib| PhysAddr::new(mib << 20)),
    };
    assert_eq!(early.reserve_crash_kernel(crash(8, Some(20)), &mut log), None);
    assert_eq!(early.reserve_crash_kernel(crash(1024, None), &mut log), None);
    let found = early.reserve_crash_kernel(crash(256, None), &mut log).unwrap();
    assert_eq!(found, range(256 << 20, 512 << 20));
    assert!(out.ends_with(
        "initrd not fully accessible: disabling initrd\n\
         cannot allocate crashkernel (size:0x800000)\n\
         cannot allocate crashkernel (size:0x40000000)\n\
         crashkernel reserved: 0x0000000010000000 - 0x0000000020000000 (256 MB)\n"
    ));
    let iomem = resources(early.map(), what.kernel, Some(found)).to_string();
    assert_eq!(
        iomem,
        "00000000-00000fff : Reserved\n\
         00001000-0009ffff : System RAM\n\
         000f0000-000fffff : System ROM\n\
         00100000-1fffffff : System RAM\n  \
           01000000-01ffffff : Kernel code\n  \
           02000000-025fffff : Kernel rodata\n  \
           02600000-029fffff : Kernel data\n  \
           02e00000-02ffffff : Kernel bss\n  \
           10000000-1fffffff : Crash kernel\n"
    );
}

#[test]
fn a_limit_on_memory_is_kept() {
    let map = MemoryMap::ram(range(0, 1 << 30));
    let platform = TestPlatform::<true>::new(1 << 20, 1);
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let mut early = EarlyBoot::new(&platform, KIND, Dialect::Linux618, &map, &mut log).unwrap();
    early.limit_memory(64 << 20, &mut log).unwrap();
    assert_eq!(early.limits().max_pfn, Pfn::new(0x4000));
    assert_eq!(early.limit_memory(100, &mut log), Err(BootError::NoMemory));
    assert!(out.contains("user: [mem 0x0000000000100000-0x0000000003ffffff] usable\n"));
}
