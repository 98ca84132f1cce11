//! The direct map and what is mapped early, walked as the processor walks them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::string::String;
use std::vec::Vec;

use foliant_arch::x86_64::{Control, X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{CacheMode, Format, KernelFormat, KernelProt, Level, peek};
use foliant_phys::NodeId;
use foliant_phys::boot::{Log, Memblock, Region};
use foliant_platform::testing::TestPlatform;
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange, Vpn, VpnRange};

use super::*;
use crate::direct::{DirectConfig, DirectMap, init_mem_mapping};

type Platform = TestPlatform<true>;
type Tables = EarlyTables<Platform>;
type Boot = Memblock<Platform>;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FOUR: u64 = 0xffff_8880_0000_0000;

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

/// Memory of a machine with RAM in these places; RAM that is never written
/// costs nothing.
fn memory(ram: &[(u64, u64)]) -> (Platform, Boot) {
    let end = ram.last().map_or(0, |&(_, end)| end);
    let platform = Platform::new(end as usize, 1);
    let mut memblock = Memblock::new();
    memblock.allow_growth(platform.clone());
    for &(start, end) in ram {
        memblock.add(Region::ram(range(start, end), NodeId(0))).unwrap();
    }
    memblock.reserve(range(0, 0x1_0000)).unwrap();
    (platform, memblock)
}

fn config(base: u64, end: u64, largest: Level, first_small: bool) -> DirectConfig {
    DirectConfig {
        base: VirtAddr::new(base),
        end: Pfn::new(end >> 12),
        largest,
        first_small,
    }
}

struct Mapped {
    tables: Tables,
    memblock: Boot,
    map: DirectMap,
    log: String,
}

fn map<F: KernelFormat>(ram: &[(u64, u64)], config: DirectConfig) -> Mapped {
    let (platform, mut memblock) = memory(ram);
    let mut tables = EarlyTables::new(&platform, &mut memblock, 6).unwrap();
    let mut log = String::new();
    let map = init_mem_mapping::<F, _>(&mut tables, &mut memblock, config, &mut Log::new(&mut log)).unwrap();
    assert!(memblock.audit());
    Mapped {
        tables,
        memblock,
        map,
        log,
    }
}

/// Every frame of RAM is where it should be; says with how many leaves of each level.
fn check<F: KernelFormat>(
    mapped: &Mapped,
    config: DirectConfig,
    control: &F::Control,
) -> [usize; Level::COUNT] {
    let mut leaves: [BTreeSet<u64>; Level::COUNT] = Default::default();
    for region in mapped.memblock.memory() {
        let within = region.range.intersect(range(0, config.end.base().raw()));
        let mut at = within.start;
        while at < within.end {
            let virt = mapped.map.virt(at).unwrap();
            let found = peek::<F>(&mapped.tables, mapped.map.root, virt, control);
            let found = found.unwrap_or_else(|| panic!("{at:?} is not mapped"));
            assert_eq!(found.address(virt), at);
            assert_eq!(F::cache_mode(found.leaf, found.level), CacheMode::WriteBack);
            leaves[found.level.index()].insert(found.frame.raw());
            at = (found.frame.base() + F::GEOMETRY.entry_span(found.level)).max(at + PAGE_SIZE as u64);
        }
    }
    for (level, frames) in Level::all().zip(&leaves) {
        let bytes = frames.len() as u64 * F::GEOMETRY.entry_span(level);
        assert!(mapped.map.mapped(level) >= bytes, "{level}");
    }
    leaves.map(|frames| frames.len())
}

#[test]
fn ram_is_mapped_with_the_largest_pages_that_fit() {
    let ram = [(0x1000, 0x9f000), (MIB, 3 * GIB), (4 * GIB, 6 * GIB + 5 * MIB)];
    let config = config(FOUR, 6 * GIB + 5 * MIB, Level::PUD, false);
    let mapped = map::<X86_64>(&ram, config);
    let leaves = check::<X86_64>(&mapped, config, &Control::default());
    // 1 and 2 GiB, 4 and 5 GiB; the first GiB but its first 2 MiB, and 4 MiB at the end.
    assert_eq!(leaves[Level::PUD.index()], 4);
    assert_eq!(leaves[Level::PMD.index()], 511 + 2);
    assert_eq!(leaves[Level::PTE.index()], 0x9e + 256 + 256);
    // The hole between is not mapped, and neither is what the firmware has.
    let hole = mapped.map.virt(PhysAddr::new(3 * GIB)).unwrap();
    assert_eq!(
        peek::<X86_64>(&mapped.tables, mapped.map.root, hole, &Control::default()),
        None
    );
    assert!(mapped.log.starts_with(
        "init_memory_mapping: [mem 0x00000000-0x000fffff]\n [mem 0x00000000-0x000fffff] page 4k\n"
    ));
    assert!(
        mapped.log.contains(" [mem 0x40000000-0xbfffffff] page 1G\n"),
        "{}",
        mapped.log
    );
}

#[test]
fn every_format_maps_its_ram() {
    let ram = [(0x1000, 0x9f000), (MIB, 900 * MIB)];
    let low = |base, largest, first_small| config(base, 800 * MIB, largest, first_small);
    let four = low(FOUR, Level::PMD, false);
    check::<X86_64>(&map::<X86_64>(&ram, four), four, &Control::default());
    let five = low(0xff11_0000_0000_0000, Level::PUD, false);
    type Five = X86_64La57;
    check::<Five>(&map::<Five>(&ram, five), five, &Control::default());
    let pae = low(0xc000_0000, Level::PMD, true);
    let leaves = check::<X86Pae>(&map::<X86Pae>(&ram, pae), pae, &Control::default());
    // The first 2 MiB are small pages, the rest is large.
    assert_eq!(leaves[Level::PMD.index()], 399);
    let legacy = low(0xc000_0000, Level::PGD, true);
    let leaves = check::<X86Legacy>(&map::<X86Legacy>(&ram, legacy), legacy, &Control::default());
    assert_eq!(leaves[Level::PGD.index()], 199);
}

#[test]
fn tables_come_from_the_buffer_and_then_from_what_is_mapped() {
    // So torn that every 2 MiB need a table.
    let ram: Vec<_> = (1..60).map(|at| (at * 4 * MIB, at * 4 * MIB + 3 * MIB)).collect();
    let config = config(FOUR, 60 * 4 * MIB, Level::PUD, false);
    let mapped = map::<X86_64>(&ram, config);
    check::<X86_64>(&mapped, config, &Control::default());
    assert!(mapped.tables.taken() > 60);
    for taken in mapped
        .memblock
        .reserved()
        .filter(|range| range.start.raw() >= MIB)
    {
        let virt = mapped.map.virt(taken.start).unwrap();
        let found = peek::<X86_64>(&mapped.tables, mapped.map.root, virt, &Control::default());
        assert!(found.is_some(), "a table at {taken:?} is not mapped");
    }
}

#[test]
fn random_memory_is_mapped_whole_and_nothing_else() {
    for seed in 0..60u64 {
        let mut state = seed * 2 + 1;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut ram, mut at) = (Vec::new(), MIB);
        for _ in 0..1 + random(12) {
            let start = at + random(3) * random(1 << 14) * 4096;
            at = start + (1 + random(1 << 17)) * 4096;
            ram.push((start, at));
        }
        let config = config(FOUR, at, Level::PUD, seed % 2 == 0);
        let mapped = map::<X86_64>(&ram, config);
        check::<X86_64>(&mapped, config, &Control::default());
        for pair in ram.windows(2) {
            let hole = pair[0].1.next_multiple_of(2 * MIB)..pair[1].0;
            if hole.end.saturating_sub(hole.start) >= 2 * MIB {
                let virt = mapped.map.virt(PhysAddr::new(hole.start)).unwrap();
                let found = peek::<X86_64>(&mapped.tables, mapped.map.root, virt, &Control::default());
                assert_eq!(found, None, "seed {seed}: a hole at {hole:x?} is mapped");
            }
        }
    }
}

/// A small machine with a direct map and a fixmap of three leaf tables.
fn with_fixmap<F: KernelFormat>(base: u64, top: u64) -> (Mapped, EarlyFixmap) {
    let mut mapped = map::<F>(&[(MIB, 64 * MIB)], config(base, 64 * MIB, Level::PMD, true));
    let span = F::GEOMETRY.table_pages(Level::PTE);
    let end = VirtAddr::new(top).page();
    let pages = VpnRange::new(end - (2 * span + span / 2), end);
    let root = mapped.map.root;
    let fixmap = EarlyFixmap::new::<F, _>(&mut mapped.tables, &mut mapped.memblock, root, pages);
    let fixmap = fixmap.unwrap();
    (mapped, fixmap)
}

#[test]
fn fixed_pages_are_found_by_arithmetic_over_contiguous_tables() {
    fixed_pages::<X86_64>(FOUR, 0xffff_ffff_ff60_0000);
    fixed_pages::<X86Pae>(0xc000_0000, 0xffff_f000);
    fixed_pages::<X86Legacy>(0xc000_0000, 0xffff_f000);
}

fn fixed_pages<F: KernelFormat + Format<Control = Control>>(base: u64, top: u64) {
    let (mapped, fixmap) = with_fixmap::<F>(base, top);
    let look = |page: Vpn| peek::<F>(&mapped.tables, mapped.map.root, page.base(), &Control::default());
    let mut via = BTreeSet::new();
    for index in 0..fixmap.pages().len() {
        let page = fixmap.address(index).unwrap().page();
        assert!(look(page).is_none());
        let frame = Pfn::new(0x100 + index);
        fixmap.set::<F, _>(&mapped.tables, page, frame, KernelProt::DATA);
        let found = look(page).unwrap();
        assert_eq!(found.frame_of(page), frame);
        via.insert(found.via.table.frame().raw());
        fixmap.clear::<F, _>(&mapped.tables, page);
        assert!(look(page).is_none());
    }
    let (first, last) = (via.first().unwrap(), via.last().unwrap());
    assert_eq!(last - first + 1, via.len() as u64, "the tables are contiguous");
    assert_eq!(fixmap.address(fixmap.pages().len()), None);
}

#[test]
fn early_mappings_are_few_small_and_do_not_outlast_boot() {
    let (mapped, fixmap) = with_fixmap::<X86_64>(FOUR, 0xffff_ffff_ff60_0000);
    let tables = &mapped.tables;
    let mut early = EarlyIoremap::new(fixmap).unwrap();
    let device = range(0xfee0_0123, 0xfee0_2001);
    let at = early.map::<X86_64, _>(tables, device).unwrap();
    assert_eq!(at.offset(), 0x123);
    let found = peek::<X86_64>(tables, mapped.map.root, at, &Control::default()).unwrap();
    assert_eq!(found.address(at), device.start);
    assert_eq!(
        X86_64::cache_mode(found.leaf, Level::PTE),
        CacheMode::UncachedMinus
    );

    let map = |early: &mut EarlyIoremap, range| early.map_memory::<X86_64, _>(tables, range);
    assert_eq!(map(&mut early, range(5, 5)), Err(IoremapError::Empty));
    let large = range(1, 64 * PAGE_SIZE as u64 + 1);
    assert_eq!(map(&mut early, large), Err(IoremapError::TooLarge));
    for _ in 1..SLOTS {
        map(&mut early, range(0, 64 * PAGE_SIZE as u64)).unwrap();
    }
    assert_eq!(map(&mut early, device), Err(IoremapError::NoSlot));

    assert_eq!(
        early.unmap::<X86_64, _>(tables, at + 1, device.len()),
        Err(BadUnmap::NotMapped)
    );
    assert_eq!(
        early.unmap::<X86_64, _>(tables, at, 1),
        Err(BadUnmap::OtherSize(device.len()))
    );
    let Stale(pages) = early.unmap::<X86_64, _>(tables, at, device.len()).unwrap();
    assert_eq!(pages.len(), 3);
    assert_eq!(
        peek::<X86_64>(tables, mapped.map.root, at, &Control::default()),
        None
    );
    map(&mut early, device).unwrap();
    assert_eq!(early.finish(), SLOTS);
    assert_eq!(map(&mut early, device), Err(IoremapError::Over));
}

#[test]
fn the_firmwares_window_is_there_only_while_switched_in() {
    let (mut mapped, kernel_fixmap) = with_fixmap::<X86_64>(FOUR, 0xffff_ffff_ff60_0000);
    let kernel = mapped.map.root;
    let efi = foliant_arch::layout::EFI_WINDOW;
    let root = switched_root::<X86_64, _>(&mut mapped.tables, &mut mapped.memblock, kernel, efi).unwrap();
    let pages = VpnRange::new(efi.end.page() - 16, efi.end.page());
    let window = EarlyFixmap::new::<X86_64, _>(&mut mapped.tables, &mut mapped.memblock, root, pages);
    let page = window.unwrap().pages().start;
    window
        .unwrap()
        .set::<X86_64, _>(&mapped.tables, page, Pfn::new(0x7000), KernelProt::CODE);

    let look = |root, at: VirtAddr| peek::<X86_64>(&mapped.tables, root, at, &Control::default());
    assert_eq!(look(root, page.base()).unwrap().frame, Pfn::new(0x7000));
    assert_eq!(look(kernel, page.base()), None);
    // What the kernel maps, before and after, is in both.
    let direct = mapped.map.virt(PhysAddr::new(32 * MIB)).unwrap();
    assert_eq!(look(root, direct), look(kernel, direct));
    let fixed = kernel_fixmap.address(3).unwrap();
    kernel_fixmap.set::<X86_64, _>(&mapped.tables, fixed.page(), Pfn::new(1), KernelProt::DATA);
    assert_eq!(look(root, fixed).unwrap().frame, Pfn::new(1));
}

#[test]
fn the_trampoline_shows_low_memory_where_it_is() {
    let ram = [(MIB, 64 * MIB)];
    // Aligned to a top-level entry, as Linux 4.4 had it.
    let base = 0xffff_8800_0000_0000;
    let mut mapped = map::<X86_64>(&ram, config(base, 64 * MIB, Level::PMD, false));
    let kernel = mapped.map.root;
    let direct = |start: u64| VirtRange::new(VirtAddr::new(start), VirtAddr::new(start + GIB));
    let root = trampoline_root::<X86_64, _>(&mut mapped.tables, &mut mapped.memblock, kernel, direct(base));
    let at = VirtAddr::new(5 * MIB + 0x123);
    let found = peek::<X86_64>(&mapped.tables, root.unwrap(), at, &Control::default()).unwrap();
    assert_eq!(found.address(at).raw(), at.raw());
    assert_eq!(
        peek::<X86_64>(&mapped.tables, kernel, at, &Control::default()),
        None
    );
    let odd = trampoline_root::<X86_64, _>(
        &mut mapped.tables,
        &mut mapped.memblock,
        kernel,
        direct(base + GIB),
    );
    assert_eq!(odd, Err(EarlyError::Unaligned));
}

/// What a frame's page allows, for the kernel: write and execute.
fn rights<F: KernelFormat>(
    mapped: &Mapped,
    at: VirtAddr,
    frame: u64,
    control: &F::Control,
) -> Option<(bool, bool)> {
    use foliant_arch::Access;
    use foliant_arch::AccessKind::{Execute, Write};
    let found = peek::<F>(&mapped.tables, mapped.map.root, at, control)?;
    assert_eq!(found.address(at), PhysAddr::new(frame));
    let may = |kind| F::permit(found.rights, Access::supervisor(kind), control).is_ok();
    Some((may(Write), may(Execute)))
}

fn nothing_is_writable_and_executable<F: KernelFormat>(config: DirectConfig, control: &F::Control) {
    let mut mapped = map::<F>(&[(0x1000, 0x9f000), (MIB, 300 * MIB)], config);
    let before: u64 = Level::all().map(|level| mapped.map.mapped(level)).sum();
    // Text that begins and ends inside large pages, and constants behind it.
    let (text, end, constants) = (17 * MIB + 0x3000, 25 * MIB, 27 * MIB + 0x800);
    let parts = [
        (range(text, end), KernelProt::CODE),
        (range(end, constants), KernelProt::READ_ONLY),
    ];
    for (part, prot) in parts {
        let (tables, memblock) = (&mut mapped.tables, &mut mapped.memblock);
        mapped.map.protect::<F, _>(tables, memblock, part, prot).unwrap();
    }
    let after: u64 = Level::all().map(|level| mapped.map.mapped(level)).sum();
    assert_eq!(before, after);
    for (at, expected) in [
        (16 * MIB, (true, false)),
        (text - 0x1000, (true, false)),
        (text, (false, true)),
        (20 * MIB, (false, true)),
        (end - 0x1000, (false, true)),
        (end, (false, false)),
        (27 * MIB, (false, false)),
        (27 * MIB + 0x1000, (true, false)),
        (200 * MIB, (true, false)),
    ] {
        let virt = mapped.map.virt(PhysAddr::new(at)).unwrap();
        let found = rights::<F>(&mapped, virt, at, control);
        assert_eq!(found, Some(expected), "{at:#x}");
    }
}

#[test]
fn text_is_not_written_and_data_not_executed() {
    type Five = X86_64La57;
    let on = Control {
        write_protect: true,
        no_execute: true,
        ..Control::default()
    };
    let low = |base, largest, first_small| config(base, 300 * MIB, largest, first_small);
    nothing_is_writable_and_executable::<X86_64>(low(FOUR, Level::PUD, false), &on);
    nothing_is_writable_and_executable::<Five>(low(0xff11 << 48, Level::PUD, false), &on);
    nothing_is_writable_and_executable::<X86Pae>(low(0xc000_0000, Level::PMD, true), &on);
}

#[test]
fn the_image_is_mapped_once_more_with_its_own_rights() {
    let mut mapped = map::<X86_64>(&[(MIB, 300 * MIB)], config(FOUR, 300 * MIB, Level::PUD, false));
    let base = VirtAddr::new(0xffff_ffff_8000_0000);
    let part = range(16 * MIB, 20 * MIB + 0x1000);
    let (tables, memblock) = (&mut mapped.tables, &mut mapped.memblock);
    mapped
        .map
        .map_image::<X86_64, _>(tables, memblock, base, part, KernelProt::CODE)
        .unwrap();
    let control = Control::default();
    for at in [16 * MIB, 20 * MIB] {
        let found = rights::<X86_64>(&mapped, base + at, at, &control);
        assert_eq!(found, Some((false, true)));
    }
    let past = base + 20 * MIB + 0x1000;
    assert_eq!(
        peek::<X86_64>(&mapped.tables, mapped.map.root, past, &control),
        None
    );
}
