//! The tables of `page_table_multiarch`.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;

use memory_addr::{PhysAddr, VirtAddr};
use page_table_multiarch::{MappingFlags, PageTable64, PagingHandler, PagingMetaData};

use super::PAGES;

/// x86-64 without its flushes, which only a kernel may do.
pub(super) struct NoFlush;

impl PagingMetaData for NoFlush {
    const LEVELS: usize = 4;
    const PA_MAX_BITS: usize = 52;
    const VA_MAX_BITS: usize = 48;
    type VirtAddr = VirtAddr;

    fn flush_tlb(_at: Option<VirtAddr>) {}
}

/// Tables on the heap, each at the address that its number says.
pub(super) struct Heap;

fn layout(frames: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(frames.checked_mul(4096)?, align).ok()
}

impl PagingHandler for Heap {
    fn alloc_frames(frames: usize, align: usize) -> Option<PhysAddr> {
        let layout = layout(frames, align)?;
        // SAFETY: the size is not zero, for no table has no frames.
        let at = unsafe { alloc(layout) };
        (!at.is_null()).then(|| PhysAddr::from(at as usize))
    }

    fn dealloc_frames(at: PhysAddr, frames: usize) {
        let Some(layout) = layout(frames, 4096) else {
            return;
        };
        // SAFETY: the tables return what `alloc_frames` gave them, aligned to a frame.
        unsafe { dealloc(at.as_usize() as *mut u8, layout) };
    }

    fn phys_to_virt(at: PhysAddr) -> VirtAddr {
        VirtAddr::from(at.as_usize())
    }
}

type Tables = PageTable64<NoFlush, page_table_entry::x86_64::X64PTE, Heap>;

/// One space's tables.
pub(super) struct Multiarch(Tables);

const RW: MappingFlags = MappingFlags::READ
    .union(MappingFlags::WRITE)
    .union(MappingFlags::USER);
const SIZE: usize = (PAGES as usize) << 12;

impl Multiarch {
    pub(super) fn new() -> Self {
        match Tables::try_new() {
            Ok(tables) => Self(tables),
            Err(why) => panic!("{why:?}"),
        }
    }

    pub(super) fn map_all(&mut self) {
        let same = |at: VirtAddr| PhysAddr::from(at.as_usize());
        let _mapped = self
            .0
            .cursor()
            .map_region(VirtAddr::from(0), same, SIZE, RW, false);
    }

    pub(super) fn protect_all(&mut self) {
        let flags = RW.difference(MappingFlags::WRITE);
        let _protected = self.0.cursor().protect_region(VirtAddr::from(0), SIZE, flags);
    }

    pub(super) fn unmap_all(&mut self) {
        let _unmapped = self.0.cursor().unmap_region(VirtAddr::from(0), SIZE);
    }

    pub(super) fn map_each(&mut self, pages: &[u64]) {
        let mut cursor = self.0.cursor();
        for &page in pages {
            let at = (page as usize) << 12;
            let size = page_table_multiarch::PageSize::Size4K;
            let _mapped = cursor.map(VirtAddr::from(at), PhysAddr::from(at), size, RW);
        }
    }

    pub(super) fn translate(&self, pages: &[u64]) {
        for &page in pages {
            let _found = black_box(self.0.query(VirtAddr::from((page as usize) << 12)));
        }
    }
}
