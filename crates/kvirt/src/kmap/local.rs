//! Maps of one CPU, for a moment.

use core::fmt;
use core::marker::PhantomData;

use alloc::boxed::Box;
use alloc::sync::Arc;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{KernelFormat, KernelProt, Level};
use foliant_paging::{Missing, PageTables};
use foliant_phys::AllocError;
use foliant_platform::{Flush, FlushKind, Mmu};
use foliant_units::{Pfn, VirtAddr, Vpn, VpnRange};

use super::direct::DirectMap;
use super::local_slots::{DEPTH, LocalSlots};

/// All slots of this CPU are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {DEPTH} local maps on one CPU")
    }
}

impl core::error::Error for TooDeep {}

/// A few slots for each CPU, that nest.
///
/// # Locking
/// None but the lock of the slot's table, for a moment: it can be used
/// anywhere, also in interrupt handlers. The thread stays on its CPU while it
/// has a map.
///
/// # Linux source concept
/// `kmap_local_page()`, `kmap_atomic()`. Differs: maps may end in any order.
pub struct LocalMaps<P: Mmu, F: KernelFormat = X86_64> {
    tables: Arc<PageTables<P, F>>,
    /// The first slot of CPU 0; further ones ascend.
    start: Vpn,
    direct: DirectMap,
    cpus: Box<[LocalSlots]>,
}

/// A frame that this CPU sees, until it is dropped.
#[must_use = "the frame is unmapped as soon as the map is dropped"]
pub struct LocalMap<'m, P: Mmu, F: KernelFormat> {
    maps: &'m LocalMaps<P, F>,
    at: VirtAddr,
    /// The CPU and its slot; `None` for a frame of the direct map.
    slot: Option<(usize, u32)>,
    /// The address means the frame on this CPU only.
    not_send: PhantomData<*const ()>,
}

impl<P: Mmu, F: KernelFormat> LocalMaps<P, F> {
    /// How many pages the slots of `cpus` CPUs take.
    pub const fn pages(cpus: u32) -> u64 {
        cpus as u64 * DEPTH as u64
    }

    /// Slots from `start` on in the kernel's tables, for the frames that
    /// `direct` does not show.
    ///
    /// # Errors
    /// No memory for the tables of the slots.
    pub fn new(
        tables: &Arc<PageTables<P, F>>,
        start: VirtAddr,
        direct: DirectMap,
    ) -> Result<Self, AllocError> {
        let cpus = tables.phys().platform().cpus();
        let pages = VpnRange::new(start.page(), start.page() + Self::pages(cpus));
        let mut at = pages.start;
        while at < pages.end {
            drop(tables.lock_leaf(at, Missing::Allocate)?);
            at = (at + 1).align_up(F::GEOMETRY.table_pages(Level::PTE));
        }
        Ok(Self {
            tables: tables.clone(),
            start: start.page(),
            direct,
            cpus: (0..cpus).map(|_| LocalSlots::default()).collect(),
        })
    }

    /// Shows `frame` to this CPU. The caller holds a reference to it.
    ///
    /// # Errors
    /// Too many maps are nested.
    pub fn map(&self, frame: Pfn, prot: KernelProt) -> Result<LocalMap<'_, P, F>, TooDeep> {
        if let Some(at) = self.direct.address(frame) {
            return Ok(self.map_at(at, None));
        }
        let platform = self.tables.phys().platform();
        platform.preempt_off();
        let cpu = platform.cpu().index();
        let Some(slot) = self.cpus[cpu].take() else {
            platform.preempt_on();
            return Err(TooDeep);
        };
        let page = self.page(cpu, slot);
        self.write(page, F::kernel_leaf(frame, Level::PTE, prot));
        Ok(self.map_at(page.base(), Some((cpu, slot))))
    }

    /// How many maps this CPU has.
    pub fn depth(&self) -> u32 {
        self.cpus[self.tables.phys().platform().cpu().index()].depth()
    }

    fn map_at(&self, at: VirtAddr, slot: Option<(usize, u32)>) -> LocalMap<'_, P, F> {
        LocalMap {
            maps: self,
            at,
            slot,
            not_send: PhantomData,
        }
    }

    fn page(&self, cpu: usize, slot: u32) -> Vpn {
        self.start + cpu as u64 * u64::from(DEPTH) + u64::from(slot)
    }

    fn write(&self, page: Vpn, entry: F::Entry) {
        // The table was made with the slots.
        if let Ok(Some(mut leaf)) = self.tables.lock_leaf(page, Missing::Skip) {
            leaf.replace(page, entry);
        }
    }

    fn unmap(&self, cpu: usize, slot: u32) {
        let page = self.page(cpu, slot);
        let platform = self.tables.phys().platform();
        self.write(page, F::Entry::default());
        // No other CPU has used the address.
        platform.flush_local(
            self.tables.context(),
            Flush {
                ranges: &[VpnRange::new(page, page + 1)],
                kind: FlushKind::Removed,
                tables_freed: false,
            },
        );
        self.cpus[cpu].give(slot);
        platform.preempt_on();
    }
}

impl<P: Mmu, F: KernelFormat> LocalMap<'_, P, F> {
    /// Where this CPU sees the frame.
    pub fn start(&self) -> VirtAddr {
        self.at
    }
}

impl<P: Mmu, F: KernelFormat> Drop for LocalMap<'_, P, F> {
    fn drop(&mut self) {
        if let Some((cpu, slot)) = self.slot {
            self.maps.unmap(cpu, slot);
        }
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for LocalMap<'_, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local map at {:?}", self.at)
    }
}

impl<P: Mmu, F: KernelFormat> fmt::Debug for LocalMaps<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local maps of {} CPUs at {:?}", self.cpus.len(), self.start)
    }
}
