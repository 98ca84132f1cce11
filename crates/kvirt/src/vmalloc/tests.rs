//! The space on a machine without TLBs: addresses, frames, failures.
#![allow(clippy::unwrap_used)]

extern crate std;

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{CacheMode, Entry, KernelFormat, KernelProt, Level};
use foliant_paging::PageTables;
use foliant_phys::testing::{assert_all_free, boot_with};
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_platform::testing::TestPlatform;
use foliant_uapi::text::{Text, Vmallocinfo};
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange};

use super::*;
use crate::caller::Caller;

mod devices;

const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);
const PAGE: u64 = PAGE_SIZE as u64;
const DEVICE: u64 = 0x40_0000_0000;

struct World {
    vmalloc: Vmalloc<TestPlatform>,
    tables: Arc<PageTables<TestPlatform>>,
    phys: Arc<Phys<TestPlatform>>,
}

fn world_of(frames: u64, bytes: u64, purging: Purging) -> World {
    let phys = boot_with(frames, 2, BootOptions::test());
    let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
    let vmalloc = Vmalloc::new(&tables, VirtRange::new(START, START + bytes), purging);
    World {
        vmalloc,
        tables,
        phys,
    }
}

fn world(purging: Purging) -> World {
    world_of(2048, 32 << 40, purging)
}

impl World {
    /// Drops everything; every frame must be back.
    fn end(self) {
        drop(self.vmalloc);
        let mut wrong = Vec::new();
        self.tables.audit(&mut |violation| wrong.push(violation));
        assert_eq!(wrong, []);
        drop(self.tables);
        assert_all_free(&self.phys);
    }

    fn frames(&self, count: usize) -> Vec<Pfn> {
        (0..count)
            .map(|_| {
                let frame = self.phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
                frame.into_pfn()
            })
            .collect()
    }

    fn put(&self, frames: &[Pfn]) {
        for &frame in frames {
            drop(self.phys.adopt(frame));
        }
    }

    fn leaf(&self, at: VirtAddr) -> (foliant_arch::x86_64::Pte, Level) {
        self.tables.look_up(at.page())
    }
}

#[test]
fn an_area_is_mapped_to_its_last_page_and_not_beyond() {
    let world = world(Purging::Lazy);
    let at = world
        .vmalloc
        .alloc(&VmallocRequest::new(3 * PAGE + 1).zeroed())
        .unwrap();
    for page in 0..4 {
        assert!(world.vmalloc.physical(at + page * PAGE).is_some());
    }
    assert_eq!(world.vmalloc.physical(at + 4 * PAGE), None);
    assert_eq!(world.vmalloc.stats().used, 4 * PAGE);
    let info = world.vmalloc.find_area(at + 4 * PAGE).unwrap();
    assert!(info.is_guard(at + 4 * PAGE) && !info.is_guard(at));
    let (leaf, _) = world.leaf(at);
    assert_eq!(leaf.raw() & !0x000f_ffff_ffff_f000, 0x8000_0000_0000_0163);
    world.vmalloc.free(at).unwrap();
    assert_eq!(world.vmalloc.physical(at), None);
    assert_eq!(world.vmalloc.free(at), Err(BadFree::NoArea));
    assert_eq!(world.vmalloc.stats().used, 0);
    world.end();
}

#[test]
fn freed_frames_and_addresses_wait_for_the_flush() {
    let world = world(Purging::Pages(1 << 20));
    let before = world.phys.stats().free;
    let first = world.vmalloc.alloc(&VmallocRequest::new(4 * PAGE)).unwrap();
    world.vmalloc.free(first).unwrap();
    assert!(world.phys.stats().free <= before - 4);
    let second = world.vmalloc.alloc(&VmallocRequest::new(4 * PAGE)).unwrap();
    assert_ne!(first, second);
    world.tables.context().take_flushes();
    world.vmalloc.purge();
    let flushes = world.tables.context().take_flushes();
    assert_eq!(flushes.len(), 1);
    assert_eq!(flushes[0].ranges.len(), 1);
    assert_eq!(flushes[0].ranges[0].start, first.page());
    let third = world.vmalloc.alloc(&VmallocRequest::new(4 * PAGE)).unwrap();
    assert_eq!(third, first);
    world.end();
}

#[test]
fn one_flush_serves_many_areas() {
    let world = world(Purging::Pages(300));
    world.tables.context().take_flushes();
    for _ in 0..200 {
        let areas: Vec<VirtAddr> = (0..2)
            .map(|_| world.vmalloc.alloc(&VmallocRequest::new(4 * PAGE)).unwrap())
            .collect();
        areas.iter().for_each(|&at| world.vmalloc.free(at).unwrap());
    }
    // 2000 pages of addresses, a third of 300 per share.
    let flushes = world.tables.context().take_flushes();
    assert!((15..25).contains(&flushes.len()), "{} flushes", flushes.len());
    assert!(flushes.iter().all(|flush| flush.ranges.len() <= 4));
    world.end();
}

#[test]
fn large_areas_are_mapped_with_large_pages_and_small_ones_reuse_their_place() {
    let world = world_of(8192, 1 << 32, Purging::AtOnce);
    let small: Vec<VirtAddr> = (0..100)
        .map(|_| world.vmalloc.alloc(&VmallocRequest::new(30 * PAGE)).unwrap())
        .collect();
    small.iter().for_each(|&at| world.vmalloc.free(at).unwrap());

    let request = VmallocRequest::new((4 << 20) - 5).large();
    let areas: Vec<VirtAddr> = (0..4).map(|_| world.vmalloc.alloc(&request).unwrap()).collect();
    for &at in &areas {
        assert!(at.is_aligned_to(2 << 20));
        for offset in [0, 2 << 20] {
            let (leaf, level) = world.leaf(at + offset);
            assert_eq!(level, Level::PMD);
            assert!(leaf.is_large());
        }
        let frame = world.vmalloc.physical(at + 0x12_3456).unwrap();
        assert_eq!(frame.raw() & 0x1f_ffff, 0x12_3456);
    }
    assert_eq!(world.vmalloc.stats().used, 16 << 20);
    areas.iter().for_each(|&at| world.vmalloc.free(at).unwrap());
    world.end();
}

#[test]
fn without_large_frames_small_ones_do() {
    let world = world_of(1200, 1 << 32, Purging::Lazy);
    // A frame in every block of 2 MiB.
    let all = world.frames(1190);
    let (kept, given): (Vec<Pfn>, Vec<Pfn>) = all.into_iter().partition(|frame| frame.raw() % 512 == 100);
    world.put(&given);
    let at = world
        .vmalloc
        .alloc(&VmallocRequest::new(2 << 20).large())
        .unwrap();
    assert_eq!(world.leaf(at).1, Level::PTE);
    world.vmalloc.free(at).unwrap();
    world.put(&kept);
    world.end();
}

#[test]
fn a_device_is_mapped_with_its_mode_and_its_offset() {
    let world = world(Purging::Lazy);
    for cache in CacheMode::ALL {
        let device = PhysRange::new(PhysAddr::new(DEVICE + 0x123), PhysAddr::new(DEVICE + 0x2010));
        let at = world.vmalloc.ioremap(device, cache).unwrap();
        assert_eq!(at.offset(), 0x123);
        assert_eq!(world.vmalloc.physical(at), Some(device.start));
        assert_eq!(world.vmalloc.pages_of(at).unwrap().len(), 3);
        let (leaf, level) = world.leaf(at);
        assert_eq!(X86_64::cache_mode(leaf, level), cache);
        world.vmalloc.iounmap(at).unwrap();
    }
    // 2 GiB and a little: one page of 1 GiB where it is aligned, 2 MiB beside it.
    let start = PhysAddr::new(DEVICE + (1 << 30) - (2 << 20));
    let device = PhysRange::new(start, start + (1 << 30) + (4 << 20) + PAGE);
    let at = world.vmalloc.ioremap(device, CacheMode::WriteCombining).unwrap();
    assert_eq!(world.leaf(at).1, Level::PMD);
    assert_eq!(world.vmalloc.physical(at + (1 << 30)), Some(start + (1 << 30)));
    let (leaf, level) = world.leaf(at);
    assert_eq!(X86_64::cache_mode(leaf, level), CacheMode::WriteCombining);
    world.vmalloc.iounmap(at).unwrap();
    let whole = PhysRange::new(PhysAddr::new(DEVICE), PhysAddr::new(DEVICE + (1 << 30)));
    let at = world.vmalloc.ioremap(whole, CacheMode::WriteBack).unwrap();
    assert_eq!(world.leaf(at).1, Level::PUD);
    world.end();
}

#[test]
fn ram_and_nonsense_are_no_devices() {
    let world = world(Purging::Lazy);
    let map = |start, end| {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        world.vmalloc.ioremap(range, CacheMode::Uncached)
    };
    let last_ram = world
        .phys
        .zones()
        .iter()
        .map(|(_, zone)| zone.span().end)
        .max()
        .unwrap();
    let end = last_ram.base().raw();
    assert_eq!(map(0x1000, 0x2000), Err(VmallocError::IsRam));
    assert_eq!(map(end - 1, end + 1), Err(VmallocError::IsRam));
    assert_eq!(map(end, end), Err(VmallocError::Empty));
    assert_eq!(map(1 << 52, (1 << 52) + 1), Err(VmallocError::Wraps));
    let alloc = |request: VmallocRequest| world.vmalloc.alloc(&request);
    assert_eq!(alloc(VmallocRequest::new(0)), Err(VmallocError::Empty));
    assert_eq!(alloc(VmallocRequest::new(u64::MAX)), Err(VmallocError::TooLarge));
    assert_eq!(
        alloc(VmallocRequest::new(1).align(3)),
        Err(VmallocError::BadAlign)
    );
    world.end();
}

#[test]
fn mapped_frames_live_until_the_flush() {
    let world = world(Purging::Pages(1 << 20));
    let frames = world.frames(3);
    let order = [frames[2], frames[0], frames[1], frames[0]];
    let at = world.vmalloc.map(&order, KernelProt::READ_ONLY).unwrap();
    let ram = world.vmalloc.map_ram(&order, KernelProt::DATA).unwrap();
    for (number, frame) in order.iter().enumerate() {
        let offset = number as u64 * PAGE;
        assert_eq!(world.vmalloc.physical(at + offset), Some(frame.base()));
        assert_eq!(world.vmalloc.physical(ram.start() + offset), Some(frame.base()));
    }
    assert!(!world.leaf(at).0.is_writable());
    world.put(&frames);
    world.vmalloc.unmap(at).unwrap();
    world.vmalloc.unmap_ram(ram);
    assert_eq!(world.phys.record(frames[0]).refs.get(), 4);
    world.vmalloc.purge();
    assert_eq!(world.phys.record(frames[0]).refs.get(), 0);
    world.end();
}

#[test]
fn small_maps_share_a_block_and_a_flush() {
    let world = world(Purging::Lazy);
    let frames = world.frames(70);
    world.tables.context().take_flushes();
    for round in 0..600 {
        let count = 1 + round % 64;
        let map = world.vmalloc.map_ram(&frames[..count], KernelProt::DATA).unwrap();
        let last = map.start() + (count as u64 - 1) * PAGE;
        assert_eq!(world.vmalloc.physical(last), Some(frames[count - 1].base()));
        world.vmalloc.unmap_ram(map);
    }
    let flushes = world.tables.context().take_flushes();
    assert!(flushes.len() < 100, "{} flushes", flushes.len());
    let map = world.vmalloc.map_ram(&frames, KernelProt::DATA).unwrap();
    let text = world.vmalloc.vmallocinfo().to_bytes();
    let text = core::str::from_utf8(&text).unwrap();
    assert!(text.contains(" 4194304 vm_map_ram\n"), "{text}");
    assert!(text.contains("  286720 vm_map_ram\n"), "{text}");
    world.vmalloc.unmap_ram(map);
    world.put(&frames);
    world.end();
}

#[test]
fn every_failing_allocation_leaves_nothing_behind() {
    let mut failures = 0;
    for nth in 1..40 {
        let world = world(Purging::Lazy);
        let frames = world.frames(3);
        world.phys.fail_at(nth);
        let area = world.vmalloc.alloc(&VmallocRequest::new(6 * PAGE));
        let large = world.vmalloc.alloc(&VmallocRequest::new(2 << 20).large());
        let mapped = world.vmalloc.map(&frames, KernelProt::DATA);
        let ram = world.vmalloc.map_ram(&frames, KernelProt::DATA);
        let device = PhysRange::new(PhysAddr::new(DEVICE), PhysAddr::new(DEVICE + 1));
        let device = world.vmalloc.ioremap(device, CacheMode::Uncached);
        world.phys.fail_at(0);
        let injected = |error| {
            matches!(
                error,
                VmallocError::NoFrame(foliant_phys::AllocError::Injected)
                    | VmallocError::NoTable(foliant_phys::AllocError::Injected)
            )
        };
        let errors = [
            area.err(),
            large.err(),
            mapped.err(),
            ram.as_ref().err().copied(),
            device.err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(injected(error), "{error}");
            failures += 1;
        }
        if let Ok(map) = ram {
            world.vmalloc.unmap_ram(map);
        }
        world.put(&frames);
        world.end();
    }
    // Frames are asked for twice, so only tables fail for good.
    assert!(failures > 3, "{failures}");
}

#[test]
fn addresses_that_run_out_are_purged_first() {
    let world = world_of(4096, 4 << 20, Purging::Pages(1 << 30));
    let request = VmallocRequest::new(100 * PAGE);
    for _ in 0..30 {
        let at = world.vmalloc.alloc(&request).unwrap();
        world.vmalloc.free(at).unwrap();
    }
    let held: Vec<VirtAddr> = core::iter::from_fn(|| world.vmalloc.alloc(&request).ok()).collect();
    assert_eq!(held.len(), 1024 / 101);
    assert_eq!(world.vmalloc.alloc(&request), Err(VmallocError::NoAddresses));
    world.end();
}

#[test]
fn frames_that_wait_are_used_before_memory_is_out() {
    let world = world_of(600, 32 << 40, Purging::Pages(1 << 30));
    for _ in 0..20 {
        let at = world.vmalloc.alloc(&VmallocRequest::new(300 * PAGE)).unwrap();
        world.vmalloc.free(at).unwrap();
    }
    world.end();
}

#[test]
fn an_area_freed_on_another_cpu_goes_back_to_its_share() {
    let world = world(Purging::AtOnce);
    let platform = world.phys.platform().clone();
    let alloc = |cpu| {
        platform.on_cpu(foliant_platform::CpuId(cpu), || {
            world.vmalloc.alloc(&VmallocRequest::new(PAGE)).unwrap()
        })
    };
    let (one, other) = (alloc(0), alloc(1));
    // Different zones, so different page tables.
    assert!(one.raw().abs_diff(other.raw()) >= 1 << 30);
    platform.on_cpu(foliant_platform::CpuId(1), || world.vmalloc.free(one).unwrap());
    assert_eq!(alloc(0), one);
    assert_eq!(alloc(1), other + 2 * PAGE);
    world.end();
}

#[test]
fn the_file_is_what_linux_would_print() {
    let world = world(Purging::Pages(1 << 20));
    let named = |size| VmallocRequest::new(size).caller(Caller::named("kernel_clone+0x94/0x3e0"));
    let first = world.vmalloc.alloc(&named(4 * PAGE)).unwrap();
    let second = world.vmalloc.alloc(&named(PAGE)).unwrap();
    let device = PhysRange::new(PhysAddr::new(DEVICE), PhysAddr::new(DEVICE + 1));
    let caller = Caller::named("memremap+0x123/0x210");
    let third = world
        .vmalloc
        .ioremap_for(device, CacheMode::Uncached, caller)
        .unwrap();
    world.vmalloc.free(second).unwrap();
    let text = world.vmalloc.vmallocinfo().to_bytes();
    let expected = format!(
        "\
{:#018x}-{:#018x}   20480 kernel_clone+0x94/0x3e0 pages=4 vmalloc N0=4
{:#018x}-{:#018x}    8192 memremap+0x123/0x210 phys=0x0000004000000000 ioremap
{:#018x}-{:#018x}    8192 unpurged vm_area
",
        first.raw(),
        (first + 5 * PAGE).raw(),
        third.raw(),
        (third + 2 * PAGE).raw(),
        second.raw(),
        (second + 2 * PAGE).raw(),
    );
    assert_eq!(core::str::from_utf8(&text).unwrap(), expected);
    assert_eq!(Vmallocinfo::parse(&text).unwrap(), world.vmalloc.vmallocinfo());
    world.end();
}

#[test]
fn a_caller_is_the_line_that_asked() {
    let world = world(Purging::Lazy);
    let at = world.vmalloc.alloc(&VmallocRequest::new(1)).unwrap();
    let text = world.vmalloc.find_area(at).unwrap().to_string();
    assert!(text.contains("vmalloc/tests.rs:"), "{text}");
    world.end();
}

#[test]
fn threads_that_allocate_and_free_lose_nothing() {
    let world = world_of(4096, 32 << 40, Purging::Pages(64));
    let platform = world.phys.platform().clone();
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let (world, platform) = (&world, &platform);
            scope.spawn(move || {
                platform.on_cpu(foliant_platform::CpuId(cpu), || {
                    let mut held = Vec::new();
                    for round in 0..2000u64 {
                        let request = VmallocRequest::new((1 + round % 9) * PAGE);
                        held.push(world.vmalloc.alloc(&request).unwrap());
                        if held.len() == 8 {
                            let at = held.swap_remove(round as usize % 8);
                            world.vmalloc.free(at).unwrap();
                        }
                    }
                    held.into_iter().for_each(|at| world.vmalloc.free(at).unwrap());
                });
            });
        }
    });
    assert_eq!(world.vmalloc.stats().used, 0);
    let leaf = world.tables.get(START.page());
    assert!(Entry::is_empty(leaf));
    world.end();
}
