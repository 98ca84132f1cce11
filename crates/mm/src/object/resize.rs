//! Taking pages away: truncation, punched holes, contents that changed below.

use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Errno, PAGE_SIZE, Pfn};

use super::cache::Pages;
use super::object::{Kind, Object};
use crate::pages::Removal;

impl<P: Mmu> Object<P> {
    /// Sets the size in bytes. Pages past a smaller end vanish from every
    /// mapping, private copies included: the next access gets SIGBUS.
    ///
    /// # Errors
    /// Those of the file below.
    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        let _one_writer = self.writes.lock();
        if let Kind::File(file) = &self.kind {
            file.set_size(size)?;
        }
        self.resized(size);
        Ok(())
    }

    /// Follows a change of size that was made below.
    fn resized(&self, size: u64) {
        let old = self.size.swap(size, Ordering::AcqRel);
        if size >= old {
            self.zero_tail(old);
            return;
        }
        let gone = size.div_ceil(PAGE_SIZE as u64)..u64::MAX;
        self.cache.changed();
        self.discard(gone.clone(), false);
        self.unmap(&gone, Removal::Truncate);
        self.zero_tail(size);
    }

    /// Frees the bytes of a range, which then read as zeroes; the size stays
    /// (`FALLOC_FL_PUNCH_HOLE`). Private copies stay.
    ///
    /// # Errors
    /// `OPNOTSUPP` where the file below cannot.
    pub fn punch(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let _one_writer = self.writes.lock();
        if let Kind::File(file) = &self.kind {
            file.punch(offset, length)?;
        }
        let page = PAGE_SIZE as u64;
        let end = offset.saturating_add(length);
        let whole = offset.div_ceil(page)..(end / page).max(offset.div_ceil(page));
        self.cache.changed();
        self.discard(whole.clone(), false);
        self.unmap(&whole, Removal::Invalidate);
        self.zero_edges(offset, end);
        Ok(())
    }

    /// Clears the parts of the first and last page of a hole.
    fn zero_edges(&self, start: u64, end: u64) {
        let page = PAGE_SIZE as u64;
        let first_end = end.min(start.next_multiple_of(page));
        let last_start = start.max(end / page * page);
        for (from, to) in [(start, first_end), (last_start, end)] {
            if from < to
                && let Some(frame) = self.lookup(from / page)
            {
                let content = self.phys().content(frame.pfn());
                content.fill((from % page) as usize, (to - from) as usize, 0);
            }
        }
    }

    /// Drops what the cache holds clean, and follows the size of the file
    /// below: for a file that others may have changed since it was last looked at.
    pub fn invalidate(&self) {
        let _one_writer = self.writes.lock();
        let Kind::File(file) = &self.kind else { return };
        self.resized(file.size());
        self.cache.changed();
        self.discard(0..u64::MAX, true);
        self.unmap(&(0..u64::MAX), Removal::Invalidate);
    }

    /// Takes frames out of the cache; those still mapped or in use live on
    /// until they are let go.
    pub(super) fn discard(&self, pages: Pages, clean_only: bool) {
        while self.let_go(pages.clone(), |_, dirty| clean_only && dirty) != 0 {}
    }

    /// Takes some frames out of the cache that `stays(frame, whether it is
    /// dirty)` does not keep. How many; none when there are no more.
    pub(super) fn let_go(&self, pages: Pages, stays: impl Fn(Pfn, bool) -> bool) -> usize {
        let mut basket = [(0, Pfn::ZERO); 64];
        let count = self.cache.take(pages, stays, &mut basket);
        for &(_, pfn) in &basket[..count] {
            let record = self.phys().record(pfn);
            record.clear(FrameFlags::DIRTY);
            record.mapping.store(0, Ordering::Relaxed);
            drop(self.phys().adopt(pfn));
        }
        count
    }

    /// The seals of shared memory (`F_GET_SEALS`); `None` for a file.
    pub fn seals(&self) -> Option<u32> {
        match &self.kind {
            Kind::Shmem(shmem) => Some(shmem.seals()),
            Kind::File(_) | Kind::Special => None,
        }
    }

    /// Adds seals. What they forbid is asked where it would happen; whether
    /// they may be added is the caller's to know.
    ///
    /// # Errors
    /// `INVAL` for a file.
    pub fn add_seals(&self, seals: u32) -> Result<(), Errno> {
        match &self.kind {
            Kind::Shmem(shmem) => {
                shmem.add_seals(seals);
                Ok(())
            }
            Kind::File(_) | Kind::Special => Err(Errno::INVAL),
        }
    }

    /// Gives every page of a range of shared memory a frame (`fallocate`),
    /// extending the size unless `keep_size`. Files below allocate themselves.
    ///
    /// # Errors
    /// `NOMEM`; what was allocated stays, the size does not change.
    pub fn allocate(&self, offset: u64, length: u64, keep_size: bool) -> Result<(), Errno> {
        let _one_writer = self.writes.lock();
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        if self.is_shmem() {
            let page = PAGE_SIZE as u64;
            for at in offset / page..end.div_ceil(page) {
                self.allocate_page(at)?;
            }
        }
        if !keep_size && end > self.size() {
            if let Kind::File(file) = &self.kind {
                file.set_size(end)?;
            }
            self.resized(end);
        }
        Ok(())
    }
}
