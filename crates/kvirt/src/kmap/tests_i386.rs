//! A 32-bit kernel with more memory than addresses: the layout of 3G/1G, with
//! tables of PAE, a direct map that ends early, and windows for the rest.
#![allow(clippy::unwrap_used)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{CacheMode, KernelProt, Level};
use foliant_paging::{PageTables, TopSync};
use foliant_phys::testing::{assert_all_free, boot_with};
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_platform::testing::TestPlatform;
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange};

use super::*;
use crate::fixmap::{Fixmap, I386_FIXMAP};
use crate::vmalloc::{Purging, Vmalloc, VmallocError, VmallocRequest};

const PAGE: u64 = PAGE_SIZE as u64;
/// The document's example machine: 896 MiB of low memory, here a few frames.
const DIRECT: DirectMap = DirectMap {
    start: VirtAddr::new(0xc000_0000),
    end: Pfn::new(8),
};
const VMALLOC: VirtRange = VirtRange::new(VirtAddr::new(0xf7ff_e000), VirtAddr::new(0xff7f_e000));
const PKMAP: VirtRange = VirtRange::new(VirtAddr::new(0xff80_0000), VirtAddr::new(0xffa0_0000));

type Tables = PageTables<TestPlatform, X86Pae>;

fn boot() -> (Arc<Tables>, Arc<Phys<TestPlatform>>) {
    let phys = boot_with(2048, 2, BootOptions::test());
    (Arc::new(PageTables::new_kernel(&phys).unwrap()), phys)
}

fn high_frames(phys: &Phys<TestPlatform>, count: usize) -> Vec<Pfn> {
    let frames: Vec<Pfn> = (0..count)
        .map(|_| phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap().into_pfn())
        .collect();
    assert!(frames.iter().all(|&frame| frame >= DIRECT.end));
    frames
}

#[test]
fn frames_above_the_direct_map_are_reachable_through_windows() {
    let (tables, phys) = boot();
    let kmap = Kmap::new(&tables, PKMAP, DIRECT, Spin).unwrap();
    let fixmap = Fixmap::new(&tables, I386_FIXMAP).unwrap();
    // The slots of a run descend, those of the CPUs ascend.
    const LAST: VirtAddr = I386_FIXMAP.slot("kmap").after(127).address();
    let locals = LocalMaps::new(&tables, LAST, DIRECT).unwrap();
    assert_eq!(LAST, VirtAddr::new(0xffef_c000));

    let frames = high_frames(&phys, 700);
    for &frame in &frames {
        let at = kmap.map(frame);
        assert!(PKMAP.contains(at));
        assert_eq!(kmap.frame(at), Some(frame));
        let local = locals.map(frame, KernelProt::DATA).unwrap();
        assert_eq!(tables.get(local.start().page()).frame(), frame);
        kmap.unmap(frame).unwrap();
    }
    // 512 slots, gone through once.
    let flushes = tables.context().take_flushes();
    let all_of_them = flushes
        .iter()
        .filter(|flush| flush.ranges.iter().map(|range| range.len()).sum::<u64>() == 512);
    assert_eq!(all_of_them.count(), 1);
    let low = kmap.map(Pfn::new(3));
    assert_eq!(low, VirtAddr::new(0xc000_3000));

    frames.into_iter().for_each(|frame| drop(phys.adopt(frame)));
    drop((kmap, locals, fixmap, tables));
    assert_all_free(&phys);
}

#[test]
fn vmalloc_fits_into_120_mib_and_is_shared_by_one_top_entry() {
    let (tables, phys) = boot();
    let vmalloc = Vmalloc::new(&tables, VMALLOC, Purging::Lazy);
    let space: Tables = PageTables::new(&phys)
        .map(|tables: Tables| tables.sharing_from(VirtAddr::new(0xc000_0000).page()))
        .unwrap();
    let at = vmalloc.alloc(&VmallocRequest::new(5 * PAGE)).unwrap();
    assert!(VMALLOC.contains(at));
    assert_eq!(space.sync_top(&tables, at.page()), TopSync::Copied);
    assert_eq!(space.get(at.page()), tables.get(at.page()));

    // A device of 64 MiB fits, with pages of 2 MiB, and a second does not.
    let start = PhysAddr::new(0xe000_0000);
    let device = PhysRange::new(start, start + (64 << 20));
    let frame_buffer = vmalloc.ioremap(device, CacheMode::WriteCombining).unwrap();
    assert_eq!(tables.look_up(frame_buffer.page()).1, Level::PMD);
    assert!(space.get(frame_buffer.page()).is_present());
    let second = vmalloc.ioremap(device, CacheMode::WriteCombining);
    assert_eq!(second, Err(VmallocError::NoAddresses));
    vmalloc.iounmap(frame_buffer).unwrap();
    let again = vmalloc.ioremap(device, CacheMode::UncachedMinus).unwrap();
    vmalloc.iounmap(again).unwrap();
    vmalloc.free(at).unwrap();

    drop((space, vmalloc, tables));
    assert_all_free(&phys);
}
