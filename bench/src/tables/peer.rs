//! The tables of the `x86_64` crate.

use std::hint::black_box;
use std::ptr::NonNull;

use x86_64::structures::paging::mapper::{MappedPageTable, PageTableFrameMapping};
use x86_64::structures::paging::{
    FrameAllocator, Mapper, Page, PageTable, PageTableFlags, PhysFrame, Size4KiB, Translate,
};
use x86_64::{PhysAddr, VirtAddr};

use super::PAGES;

/// Tables that the workloads need, and a few.
const TABLES: usize = 600;

/// Hands out tables by number; zero is the root.
struct Pool(usize);

/// Tables on the heap, found by adding an offset.
struct Offset(NonNull<PageTable>);

// SAFETY: frame *n* is table *n* of the pool.
unsafe impl PageTableFrameMapping for Offset {
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        let number = frame.start_address().as_u64() >> 12;
        self.0.as_ptr().wrapping_add(number as usize)
    }
}

// SAFETY: each table is handed out once, empty.
unsafe impl FrameAllocator<Size4KiB> for Pool {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0 += 1;
        let frame = PhysFrame::containing_address(PhysAddr::new((self.0 as u64) << 12));
        (self.0 < TABLES).then_some(frame)
    }
}

/// One space's tables.
pub(super) struct Peer {
    pool: Pool,
    mapper: MappedPageTable<'static, Offset>,
}

// SAFETY: the tables belong to this value alone.
unsafe impl Send for Peer {}

const RW: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::USER_ACCESSIBLE);

fn page(number: u64) -> Page {
    Page::containing_address(VirtAddr::new(number << 12))
}

impl Peer {
    pub(super) fn new() -> Self {
        let tables: Vec<PageTable> = (0..TABLES).map(|_| PageTable::new()).collect();
        // The benchmark is over before anybody misses the memory.
        let tables = tables.leak();
        let base = NonNull::from(&mut tables[0]);
        // SAFETY: the first table is used as the root and for nothing else.
        let root = unsafe { &mut *base.as_ptr() };
        // SAFETY: every frame that the pool gives is found by `Offset`.
        let mapper = unsafe { MappedPageTable::new(root, Offset(base)) };
        Self {
            pool: Pool(0),
            mapper,
        }
    }

    /// Empty tables again, in the same memory, none of which is touched but the
    /// root: a kernel's free frames have not just been written either.
    pub(super) fn start_again(&mut self) {
        self.pool = Pool(0);
        self.mapper.level_4_table_mut().zero();
    }

    pub(super) fn map(&mut self, number: u64) {
        let frame = PhysFrame::containing_address(PhysAddr::new(number << 12));
        // SAFETY: no processor walks these tables.
        let mapped = unsafe { self.mapper.map_to(page(number), frame, RW, &mut self.pool) };
        if let Ok(flush) = mapped {
            flush.ignore();
        }
    }

    pub(super) fn map_all(&mut self) {
        (0..PAGES).for_each(|number| self.map(number));
    }

    pub(super) fn protect_all(&mut self) {
        for number in 0..PAGES {
            let flags = RW.difference(PageTableFlags::WRITABLE);
            // SAFETY: no processor walks these tables.
            if let Ok(flush) = unsafe { self.mapper.update_flags(page(number), flags) } {
                flush.ignore();
            }
        }
    }

    pub(super) fn unmap(&mut self, number: u64) {
        if let Ok((_, flush)) = self.mapper.unmap(page(number)) {
            flush.ignore();
        }
    }

    pub(super) fn unmap_all(&mut self) {
        (0..PAGES).for_each(|number| self.unmap(number));
    }

    /// Translates pages.
    pub(super) fn translate(&self, pages: &[u64]) {
        for &page in pages {
            black_box(self.mapper.translate_addr(VirtAddr::new(page << 12)));
        }
    }
}
