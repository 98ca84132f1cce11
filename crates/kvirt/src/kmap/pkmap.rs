//! Frames that stay mapped until they are done with.

use core::fmt;

use alloc::sync::Arc;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{KernelFormat, KernelProt, Level};
use foliant_paging::{Missing, PageTables, Store};
use foliant_phys::AllocError;
use foliant_platform::sync::SpinLock;
use foliant_platform::{Flush, FlushKind, Mmu};
use foliant_units::{Pfn, VirtAddr, VirtRange, Vpn, VpnRange};

use super::direct::DirectMap;
use super::pkmap_book::{Claim, PkmapBook};
use super::ticket::{Changes, Pause};
use crate::mapping;
use crate::mutant::{Mutant, is_on};
use crate::vmalloc::FlushList;

/// Nothing is mapped there for anybody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BadUnmap;

impl fmt::Display for BadUnmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kunmap of a frame that is not mapped")
    }
}

impl core::error::Error for BadUnmap {}

/// The window of persistent maps.
///
/// Every frame has at most one slot, with a count of users. A slot without
/// users keeps its translation until the window has been gone through once;
/// then all such slots are flushed together. When every slot is used, whoever
/// wants one waits for an unmap.
///
/// # Locking
/// A spin lock for the book, and below it the lock of the slot's table. The
/// flush is done with neither. [`map`](Self::map) may wait.
///
/// # Linux source concept
/// `kmap_high()`, `kunmap_high()`, `flush_all_zero_pkmaps()`, mm/highmem.c.
pub struct Kmap<P: Mmu, F: KernelFormat = X86_64> {
    tables: Arc<PageTables<P, F>>,
    window: VpnRange,
    direct: DirectMap,
    core: Core<dyn Pause>,
}

/// The protocol, without the tables.
pub(crate) struct Core<W: ?Sized> {
    pub(crate) book: SpinLock<PkmapBook>,
    pub(crate) changes: Changes,
    pub(crate) pause: alloc::boxed::Box<W>,
}

impl<W: Pause + ?Sized> Core<W> {
    /// One more user of `frame`: its slot. `map` maps the frame there with the
    /// book locked; `flush` unmaps and flushes slots with nothing locked.
    pub(crate) fn claim(
        &self,
        frame: Pfn,
        mut map: impl FnMut(usize),
        mut flush: impl FnMut(&[usize]),
    ) -> usize {
        let mut spins = 0;
        loop {
            let mut ticket = self.changes.ticket();
            let claim = {
                let mut book = self.book.lock();
                let claim = book.claim(frame);
                if let Claim::Taken(slot) = claim {
                    map(slot);
                }
                claim
            };
            match claim {
                Claim::Shown(slot) | Claim::Taken(slot) => return slot,
                Claim::Flush(slots) => {
                    flush(&slots);
                    self.book.lock().flushed(&slots);
                    self.announce();
                }
                Claim::Full => {
                    if is_on(Mutant::TicketAfterLook) {
                        ticket = self.changes.ticket();
                    }
                    while !self.changes.has_left(ticket) {
                        self.pause.pause(&|| self.changes.has_left(ticket), &mut spins);
                    }
                }
            }
        }
    }

    /// One user of `slot` less.
    pub(crate) fn release(&self, slot: usize) -> Result<(), BadUnmap> {
        let last = self.book.lock().release(slot).ok_or(BadUnmap)?;
        if last && !is_on(Mutant::UnmapWithoutWake) {
            self.announce();
        }
        Ok(())
    }

    fn announce(&self) {
        self.changes.announce();
        self.pause.wake();
    }
}

impl<P: Mmu, F: KernelFormat> Kmap<P, F> {
    /// A window of some pages in the kernel's tables, for the frames that
    /// `direct` does not show. Who waits for a slot does so by `pause`.
    ///
    /// # Errors
    /// No memory for the tables of the window.
    pub fn new(
        tables: &Arc<PageTables<P, F>>,
        window: VirtRange,
        direct: DirectMap,
        pause: impl Pause + 'static,
    ) -> Result<Self, AllocError> {
        let window = VpnRange::new(window.start.page(), window.end.page());
        let mut at = window.start;
        while at < window.end {
            drop(tables.lock_leaf(at, Missing::Allocate)?);
            at = (at + 1).align_up(F::GEOMETRY.table_pages(Level::PTE));
        }
        Ok(Self {
            tables: tables.clone(),
            window,
            direct,
            core: Core {
                book: SpinLock::new(PkmapBook::new(window.len() as usize)),
                changes: Changes::default(),
                pause: alloc::boxed::Box::new(pause),
            },
        })
    }

    /// Shows `frame`; waits while every slot is used. The caller holds a
    /// reference to the frame until it [unmaps](Self::unmap) it.
    ///
    /// # Linux source concept
    /// `kmap()`.
    pub fn map(&self, frame: Pfn) -> VirtAddr {
        if let Some(at) = self.direct.address(frame) {
            return at;
        }
        let map = |slot| self.write(slot, F::kernel_leaf(frame, Level::PTE, KernelProt::DATA));
        let slot = self.core.claim(frame, map, |slots| self.flush(slots));
        self.page(slot).base()
    }

    /// Ends one [`map`](Self::map) of `frame`.
    ///
    /// # Errors
    /// Nobody has it mapped.
    ///
    /// # Linux source concept
    /// `kunmap()`.
    pub fn unmap(&self, frame: Pfn) -> Result<(), BadUnmap> {
        if self.direct.address(frame).is_some() {
            return Ok(());
        }
        let slot = self.core.book.lock().slot_of(frame).ok_or(BadUnmap)?;
        self.core.release(slot)
    }

    /// The frame that is shown at `at`, an address of the window or of the
    /// direct map (`kmap_to_page()`).
    pub fn frame(&self, at: VirtAddr) -> Option<Pfn> {
        if self.window.contains(at.page()) {
            return mapping::frame_at(&*self.tables, at.page());
        }
        self.direct.frame(at)
    }

    /// Flushes the slots without users (`kmap_flush_unused()`).
    pub fn flush_unused(&self) {
        let unused = self.core.book.lock().leave_unused();
        if !unused.is_empty() {
            self.flush(&unused);
            self.core.book.lock().flushed(&unused);
            self.core.announce();
        }
    }

    /// Slots with users.
    pub fn used(&self) -> usize {
        self.core.book.lock().used()
    }

    fn page(&self, slot: usize) -> Vpn {
        self.window.start + slot as u64
    }

    fn write(&self, slot: usize, entry: F::Entry) {
        let page = self.page(slot);
        // The table was made with the window.
        if let Ok(Some(mut leaf)) = self.tables.lock_leaf(page, Missing::Skip) {
            leaf.replace(page, entry);
        }
    }

    fn flush(&self, slots: &[usize]) {
        let mut list = FlushList::new();
        for &slot in slots {
            self.write(slot, F::Entry::default());
            list.add(VpnRange::new(self.page(slot), self.page(slot) + 1));
        }
        self.tables.store().flush(Flush {
            ranges: list.ranges(),
            kind: FlushKind::Removed,
            tables_freed: false,
        });
    }
}

impl<P: Mmu, F: KernelFormat> Drop for Kmap<P, F> {
    fn drop(&mut self) {
        mapping::unmap(&*self.tables, self.window);
        self.tables.store().flush(Flush {
            ranges: &[self.window],
            kind: FlushKind::Removed,
            tables_freed: false,
        });
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for Kmap<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkmap {:?}, {} slots used", self.window, self.used())
    }
}
