//! The vmalloc space: its state, and memory of its own.

use core::fmt;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{KernelFormat, KernelProt, Level};
use foliant_paging::{PageTables, Store};
use foliant_phys::{AllocRequest, OnFailure, Phys};
use foliant_platform::{Flush, FlushKind, Mmu};
use foliant_units::{Order, PAGE_SHIFT, PAGE_SIZE, PhysAddr, VirtAddr, VirtRange, VpnRange};

use super::area::{Area, AreaInfo, Frames, Use};
use super::book::{Found, Held};
use super::cache_modes::CacheModes;
use super::count::CpuCount;
use super::map_ram::BlockSlot;
use super::request::{BadFree, LargePages, VmallocError, VmallocRequest};
use super::space::{VaSpace, Want};
use crate::caller::Caller;
use crate::mapping;

/// When unmapped areas are flushed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Purging {
    /// When 32 MiB times the binary digits of the number of CPUs have
    /// gathered, as in Linux, but never more than a 32nd of RAM: here their
    /// frames wait too.
    #[default]
    Lazy,
    /// When about so many pages have gathered.
    Pages(u64),
    /// At once, so that every use of a freed area faults.
    AtOnce,
}

/// Kernel addresses with memory behind them that need not be contiguous.
///
/// Areas lie in a range of the kernel's tables with a guard page behind each,
/// which nothing is ever mapped at. What is freed is unmapped at once, but its
/// addresses and frames are used again only after a flush, and one flush
/// serves many areas ([`purge`](Self::purge)).
///
/// # Locking
/// All methods may be called by any number of threads at once, from contexts
/// that may sleep. None of the locks inside is held during an allocation of
/// frames, so a reclaimer may call [`purge`](Self::purge).
///
/// # Linux source concept
/// mm/vmalloc.c. Differs: frames wait for the flush as addresses do, so a
/// forgotten pointer never shows another's memory.
pub struct Vmalloc<P: Mmu, F: KernelFormat = X86_64> {
    pub(super) tables: Arc<PageTables<P, F>>,
    pub(super) space: VaSpace<Area>,
    /// The block that each CPU cuts small maps from.
    pub(super) blocks: Box<[BlockSlot]>,
    /// Frames of vmalloc areas.
    pub(super) used: CpuCount,
    /// How devices' memory is cached.
    pub(super) modes: CacheModes,
}

/// The state of the space at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmallocStats {
    /// Bytes of addresses (`VmallocTotal`).
    pub total: u64,
    /// Bytes of memory in areas (`VmallocUsed`).
    pub used: u64,
    /// Bytes of addresses that wait for a flush.
    pub unpurged: u64,
    /// Bytes of addresses that are free.
    pub free: u64,
}

impl<P: Mmu, F: KernelFormat> Vmalloc<P, F> {
    /// An empty space at `range` of the kernel's tables, which nobody else uses.
    pub fn new(tables: &Arc<PageTables<P, F>>, range: VirtRange, purging: Purging) -> Self {
        let phys = tables.phys();
        let cpus = phys.platform().cpus() as usize;
        let limit = match purging {
            Purging::Lazy => {
                let digits = u64::from(usize::BITS - cpus.leading_zeros());
                (digits * (32 << 20 >> PAGE_SHIFT)).min(phys.stats().total / 32)
            }
            Purging::Pages(pages) => pages,
            Purging::AtOnce => 0,
        };
        let pages = VpnRange::new(range.start.page(), range.end.page());
        Self {
            space: VaSpace::new(pages, cpus, limit),
            tables: tables.clone(),
            blocks: (0..cpus).map(|_| BlockSlot::default()).collect(),
            used: CpuCount::new(cpus),
            modes: CacheModes::new(),
        }
    }

    /// The kernel's tables.
    pub fn tables(&self) -> &Arc<PageTables<P, F>> {
        &self.tables
    }

    /// All addresses of the space.
    pub fn range(&self) -> VirtRange {
        self.space.range().bytes()
    }

    pub(super) fn phys(&self) -> &Arc<Phys<P>> {
        self.tables.phys()
    }

    pub(super) fn cpu(&self) -> usize {
        self.phys().platform().cpu().index()
    }

    /// Memory of its own, mapped side by side.
    ///
    /// # Errors
    /// See [`VmallocError`]; nothing is left of the attempt but empty tables.
    ///
    /// # Linux source concept
    /// `__vmalloc_node_range()`.
    pub fn alloc(&self, request: &VmallocRequest) -> Result<VirtAddr, VmallocError> {
        let pages = request.size.div_ceil(PAGE_SIZE as u64);
        if pages == 0 {
            return Err(VmallocError::Empty);
        }
        if !request.align.is_power_of_two() {
            return Err(VmallocError::BadAlign);
        }
        if pages > self.phys().stats().total {
            return Err(VmallocError::TooLarge);
        }
        let large = Order::PMD.frames();
        if request.large == LargePages::Allowed
            && pages >= large
            && F::GEOMETRY.entry_pages(Level::PMD) == large
            && let Ok(at) = self.alloc_of(request, Order::PMD, pages.next_multiple_of(large))
        {
            return Ok(at);
        }
        self.alloc_of(request, Order::ZERO, pages)
    }

    /// The same in folios of `order`.
    fn alloc_of(&self, request: &VmallocRequest, order: Order, pages: u64) -> Result<VirtAddr, VmallocError> {
        let frames = self.frames(request, order, pages)?;
        let align = (request.align >> PAGE_SHIFT).max(order.frames());
        let Some(place) = self.place(pages + 1, align) else {
            self.put_all(frames);
            return Err(VmallocError::NoAddresses);
        };
        let held = Held {
            pages: place,
            area: Area {
                what: Use::Vmalloc,
                caller: request.caller,
                guard: true,
                frames,
            },
        };
        match self.map_frames(held.usable(), &held.area.frames, request.prot) {
            Ok(()) => {
                self.used.add(self.cpu(), pages as i64);
                self.space.publish(place, held.area);
                Ok(place.start.base())
            }
            Err(error) => {
                self.withdraw(held);
                Err(VmallocError::NoTable(error))
            }
        }
    }

    /// Gives back what [`alloc`](Self::alloc) gave.
    ///
    /// # Errors
    /// No such area begins at `at`.
    ///
    /// # Linux source concept
    /// `vfree()`.
    pub fn free(&self, at: VirtAddr) -> Result<(), BadFree> {
        let held = self.remove(at, |what| matches!(what, Use::Vmalloc))?;
        self.used.add(self.cpu(), -(held.area.frames.count() as i64));
        self.withdraw(held);
        Ok(())
    }

    /// What is behind `at`, if anything is mapped there.
    ///
    /// # Linux source concept
    /// `vmalloc_to_page()`, and the offset.
    pub fn physical(&self, at: VirtAddr) -> Option<PhysAddr> {
        let frame = mapping::frame_at(&*self.tables, at.page())?;
        Some(frame.base() + at.offset() as u64)
    }

    /// Flushes everything that waits, and gives addresses and frames back.
    ///
    /// # Linux source concept
    /// `vm_unmap_aliases()`, and the shrinker of vmalloc.
    pub fn purge(&self) {
        self.flush_blocks();
        self.space
            .purge_all(|ranges| self.flush(ranges), |area| self.put_frames(area));
    }

    /// Shows every area, in no order.
    pub fn for_each_area(&self, mut show: impl FnMut(&AreaInfo)) {
        self.space
            .for_each(|found, held| show(&self.describe(found, held)));
    }

    /// The area that `at` lies in, or lay in not long ago.
    pub fn find_area(&self, at: VirtAddr) -> Option<AreaInfo> {
        self.space
            .trace(at.page(), |found, held| self.describe(found, held))
    }

    /// The state of the space.
    pub fn stats(&self) -> VmallocStats {
        let bytes = |pages: u64| pages << PAGE_SHIFT;
        VmallocStats {
            total: bytes(self.space.range().len()),
            used: bytes(self.used.sum()),
            unpurged: bytes(self.space.lazy_pages()),
            free: bytes(self.space.free_pages()),
        }
    }

    pub(super) fn describe(&self, found: Found, held: &Held<Area>) -> AreaInfo {
        let phys = self.phys();
        AreaInfo::of(found, held, |frame| {
            let zone = phys.zone_of(frame);
            zone.map_or(0, |zone| usize::from(phys.zones().get(zone).node().0))
        })
    }

    /// Frames for `pages` pages. If there are none, those that wait for a
    /// flush are tried for.
    fn frames(&self, request: &VmallocRequest, order: Order, pages: u64) -> Result<Frames, VmallocError> {
        let count = (pages >> order.raw()) as usize;
        let mut frames = Frames {
            list: Vec::with_capacity(count),
            order,
        };
        let mut wanted = request.frames.order(order);
        if order != Order::ZERO {
            // There is a plan for when there are no large ones.
            wanted.on_failure = OnFailure::Silent;
        }
        for attempt in 0..2 {
            match self.more_frames(&mut frames, wanted, count) {
                Ok(()) => return Ok(frames),
                Err(error) if attempt == 1 || !wanted.effort.may_sleep() => {
                    self.put_all(frames);
                    return Err(error);
                }
                Err(_) => self.purge(),
            }
        }
        Ok(frames)
    }

    fn more_frames(
        &self,
        frames: &mut Frames,
        wanted: AllocRequest,
        count: usize,
    ) -> Result<(), VmallocError> {
        let phys = self.phys();
        while frames.list.len() < count {
            let missing = count - frames.list.len();
            phys.alloc_bulk(wanted, missing, |frame| frames.list.push(frame.into_pfn()))
                .map_err(VmallocError::NoFrame)?;
        }
        Ok(())
    }

    fn map_frames(
        &self,
        pages: VpnRange,
        frames: &Frames,
        prot: KernelProt,
    ) -> Result<(), foliant_phys::AllocError> {
        if frames.order == Order::ZERO {
            return mapping::map_each(&*self.tables, pages, prot, |page| {
                frames.list[(page - pages.start) as usize]
            });
        }
        for (number, &frame) in frames.list.iter().enumerate() {
            let start = pages.start + number as u64 * frames.order.frames();
            let part = VpnRange::new(start, start + frames.order.frames());
            mapping::map_run(&*self.tables, part, frame, prot, Level::PMD)?;
        }
        Ok(())
    }

    /// Addresses. If there are none, those that wait for a flush are taken.
    pub(super) fn place(&self, pages: u64, align: u64) -> Option<VpnRange> {
        let want = Want {
            pages,
            align: align.max(1),
            cpu: self.cpu(),
        };
        self.space.reserve(want).or_else(|| {
            self.purge();
            self.space.return_zones();
            self.space.reserve(want)
        })
    }

    /// Takes an area out of the book, if it begins at `at` and is of this kind.
    pub(super) fn remove(&self, at: VirtAddr, is_it: impl Fn(&Use) -> bool) -> Result<Held<Area>, BadFree> {
        if !at.is_aligned() {
            return Err(BadFree::NoArea);
        }
        self.space
            .remove_if(at.page(), |area| is_it(&area.what))
            .ok_or(BadFree::NoArea)
    }

    /// Unmaps an area; its frames and addresses wait for the flush.
    pub(super) fn withdraw(&self, held: Held<Area>) {
        mapping::unmap(&*self.tables, held.usable());
        self.space
            .retire(held, |ranges| self.flush(ranges), |area| self.put_frames(area));
    }

    pub(super) fn flush(&self, ranges: &[VpnRange]) {
        self.tables.store().flush(Flush {
            ranges,
            kind: FlushKind::Removed,
            tables_freed: false,
        });
    }

    /// The flush is over: gives the frames of an area back.
    fn put_frames(&self, area: &mut Area) {
        if let Use::Ioremap(device) = area.what {
            self.modes.release(device);
        }
        if let Use::Block(block) = &area.what {
            area.frames.list.extend(block.take_waiting());
        }
        self.put_all(core::mem::replace(&mut area.frames, Frames::NONE));
        // Only what it was is remembered.
        if matches!(area.what, Use::Block(_)) {
            area.what = Use::Ram;
        }
    }

    pub(super) fn put_all(&self, frames: Frames) {
        let phys = self.phys();
        for frame in frames.list {
            drop(phys.adopt(frame));
        }
    }

    /// An area without frames of its own.
    pub(super) fn bare(what: Use, caller: Caller, guard: bool) -> Area {
        Area {
            what,
            caller,
            guard,
            frames: Frames::NONE,
        }
    }
}

impl<P: Mmu, F: KernelFormat> Drop for Vmalloc<P, F> {
    fn drop(&mut self) {
        while let Some(held) = self.space.remove_any() {
            self.withdraw(held);
        }
        self.purge();
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for Vmalloc<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vmalloc space {:?}", self.range())
    }
}
