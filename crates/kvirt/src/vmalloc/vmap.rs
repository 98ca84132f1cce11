//! Frames of somebody else, and device memory.

use foliant_arch::{CacheMode, KernelFormat, KernelProt, Level};
use foliant_platform::Mmu;
use foliant_units::{PAGE_SHIFT, Pfn, PfnRange, PhysRange, VirtAddr, VpnRange};

use super::area::{Frames, Use};
use super::book::Held;
use super::cache_modes::CacheModeList;
use super::memory::Vmalloc;
use super::request::{BadFree, VmallocError};
use crate::caller::Caller;
use crate::mapping;

impl<P: Mmu, F: KernelFormat> Vmalloc<P, F> {
    /// Maps frames side by side, in the order given. The area holds a
    /// reference to each until its translations are gone; the caller holds one
    /// now.
    ///
    /// # Errors
    /// See [`VmallocError`].
    ///
    /// # Linux source concept
    /// `vmap()`. Differs: it takes references.
    #[track_caller]
    pub fn map(&self, frames: &[Pfn], prot: KernelProt) -> Result<VirtAddr, VmallocError> {
        self.map_for(frames, prot, Caller::here())
    }

    /// The same on behalf of `caller`.
    ///
    /// # Errors
    /// See [`map`](Self::map).
    pub fn map_for(
        &self,
        frames: &[Pfn],
        prot: KernelProt,
        caller: Caller,
    ) -> Result<VirtAddr, VmallocError> {
        if frames.is_empty() {
            return Err(VmallocError::Empty);
        }
        let place = self
            .place(frames.len() as u64 + 1, 1)
            .ok_or(VmallocError::NoAddresses)?;
        let mut held = Held {
            pages: place,
            area: Self::bare(Use::Vmap, caller, true),
        };
        held.area.frames = Frames {
            list: self.references(frames).collect(),
            ..Frames::NONE
        };
        let frame_of = |page| frames[(page - place.start) as usize];
        match mapping::map_each(&*self.tables, held.usable(), prot, frame_of) {
            Ok(()) => {
                self.space.publish(place, held.area);
                Ok(place.start.base())
            }
            Err(error) => {
                self.withdraw(held);
                Err(VmallocError::NoTable(error))
            }
        }
    }

    /// Ends what [`map`](Self::map) began.
    ///
    /// # Errors
    /// No such area begins at `at`.
    ///
    /// # Linux source concept
    /// `vunmap()`.
    pub fn unmap(&self, at: VirtAddr) -> Result<(), BadFree> {
        self.withdraw(self.remove(at, |what| matches!(what, Use::Vmap))?);
        Ok(())
    }

    /// One more reference to each frame.
    pub(super) fn references(&self, frames: &[Pfn]) -> impl Iterator<Item = Pfn> {
        let phys = self.phys();
        frames.iter().map(|&frame| phys.get(frame).into_pfn())
    }

    /// Maps device memory, with the largest pages that fit. The result has the
    /// offset inside its page that the physical address has. What is mapped
    /// already is cached here as it is there, whatever was asked for, if that
    /// will do; [`cache_modes`](Self::cache_modes) tells.
    ///
    /// # Errors
    /// The range is empty, wraps around, is RAM in part, or is mapped and cached
    /// in a way that will not do; see [`VmallocError`].
    ///
    /// # Linux source concept
    /// `ioremap()`, `ioremap_wc()`, `ioremap_wt()`, `ioremap_uc()`, `memremap()`.
    #[track_caller]
    pub fn ioremap(&self, device: PhysRange, cache: CacheMode) -> Result<VirtAddr, VmallocError> {
        self.ioremap_for(device, cache, Caller::here())
    }

    /// The same on behalf of `caller`.
    ///
    /// # Errors
    /// See [`ioremap`](Self::ioremap).
    pub fn ioremap_for(
        &self,
        device: PhysRange,
        cache: CacheMode,
        caller: Caller,
    ) -> Result<VirtAddr, VmallocError> {
        if device.is_empty() {
            return Err(VmallocError::Empty);
        }
        let first = device.start.frame();
        let last = (device.start + (device.len() - 1)).frame();
        if last.raw() >> (F::PHYSICAL_BITS - PAGE_SHIFT) != 0 {
            return Err(VmallocError::Wraps);
        }
        let pages = last - first + 1;
        if (0..pages).any(|page| self.phys().is_ram(first + page)) {
            return Err(VmallocError::IsRam);
        }
        let frames = PfnRange::new(first, first + pages);
        let cache = self.reserve_mode(frames, cache)?;
        let largest = largest_for::<F>(first, pages);
        let Some(place) = self.place(pages + 1, F::GEOMETRY.entry_pages(largest)) else {
            self.modes.release(frames);
            return Err(VmallocError::NoAddresses);
        };
        let held = Held {
            pages: place,
            area: Self::bare(Use::Ioremap(frames), caller, true),
        };
        match mapping::map_run(
            &*self.tables,
            held.usable(),
            first,
            KernelProt::io(cache),
            largest,
        ) {
            Ok(()) => {
                self.space.publish(place, held.area);
                Ok(place.start.base() + device.start.offset() as u64)
            }
            Err(error) => {
                self.withdraw(held);
                Err(VmallocError::NoTable(error))
            }
        }
    }

    /// How the frames are to be cached. Mappings that ended may still be in
    /// TLBs, so they count; if they are in the way, they are flushed.
    fn reserve_mode(&self, frames: PfnRange, wanted: CacheMode) -> Result<CacheMode, VmallocError> {
        match self.modes.reserve(frames, wanted) {
            Ok(mode) if mode == wanted => return Ok(mode),
            Ok(_) => self.modes.release(frames),
            Err(_) => {}
        }
        self.purge();
        self.modes.reserve(frames, wanted)
    }

    /// What is mapped of devices, and how it is cached.
    pub fn cache_modes(&self) -> CacheModeList {
        self.modes.list()
    }

    /// Ends what [`ioremap`](Self::ioremap) began, at the address that it gave.
    ///
    /// # Errors
    /// No such area begins in the page of `at`.
    ///
    /// # Linux source concept
    /// `iounmap()`.
    pub fn iounmap(&self, at: VirtAddr) -> Result<(), BadFree> {
        let start = at.page().base();
        self.withdraw(self.remove(start, |what| matches!(what, Use::Ioremap(_)))?);
        Ok(())
    }

    /// The pages of one mapped area, for tests and dumps.
    pub fn pages_of(&self, at: VirtAddr) -> Option<VpnRange> {
        self.space.with(at.page(), |held| held.usable())
    }
}

/// The largest page that this much device memory from `first` on has room for
/// as it is aligned.
fn largest_for<F: KernelFormat>(first: Pfn, pages: u64) -> Level {
    let fits = |level: &Level| {
        let size = F::GEOMETRY.entry_pages(*level);
        let usable = !F::GEOMETRY.is_folded(*level) && F::GEOMETRY.can_be_leaf(*level);
        usable && *level != F::GEOMETRY.top() && pages >= size && first.is_aligned_to(size)
    };
    Level::all().rev().find(fits).unwrap_or(Level::PTE)
}
