//! Bringing frames into memory.

use alloc::vec;
use alloc::vec::Vec;

use foliant_phys::{AllocError, Frame, FrameFlags};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Errno, PAGE_SIZE};

use super::backing::{FileBacking, Latency};
use super::cache::{Pages, Refused, Version};
use super::object::{Kind, Object};
use crate::fault::Weight;

/// Pages that one read of the file below brings in: what one fault maps.
const CHUNK: u64 = 16;

/// Why a page of an object has no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FillError {
    /// The object ends before it.
    BeyondEnd,
    /// No frame could be had.
    NoMemory(AllocError),
    /// The file below could not be read.
    File(Errno),
}

impl From<AllocError> for FillError {
    fn from(error: AllocError) -> Self {
        FillError::NoMemory(error)
    }
}

impl FillError {
    /// What `read(2)` and `write(2)` return.
    pub(crate) const fn errno(self) -> Errno {
        match self {
            FillError::BeyondEnd => Errno::FAULT,
            FillError::NoMemory(error) => error.errno(),
            FillError::File(errno) => errno,
        }
    }
}

impl<P: Mmu> Object<P> {
    /// The frame of `page`, brought in if need be.
    ///
    /// # Errors
    /// Pages past the end have none, whatever the cache holds.
    ///
    /// # Locking
    /// No spin lock may be held: the file below may sleep.
    pub(crate) fn frame(&self, page: u64) -> Result<(Frame<'_, P>, Weight), FillError> {
        // Each round is spoilt by a write of its own. Shutting writers out
        // is no way: one may wait for a space whose writer waits for this fault.
        loop {
            if let Some(found) = self.try_frame(page)? {
                return Ok(found);
            }
        }
    }

    /// Brings `count` pages from `first` in as far as there is room: a hint.
    pub(crate) fn prefetch(&self, first: u64, count: u64) {
        let end = first.saturating_add(count).min(self.pages());
        if self.is_shmem() {
            return;
        }
        for page in first..end {
            if !self.is_cached(page) && self.frame(page).is_err() {
                return;
            }
        }
    }

    /// One attempt; `None` if the contents changed meanwhile.
    fn try_frame(&self, page: u64) -> Result<Option<(Frame<'_, P>, Weight)>, FillError> {
        let version = self.cache.version();
        if page >= self.pages() {
            return Err(FillError::BeyondEnd);
        }
        if let Some(frame) = self.lookup(page) {
            return Ok(Some((frame, Weight::Minor)));
        }
        match &self.kind {
            Kind::Shmem(_) => {
                let frame = self.phys().alloc(self.request().zeroed())?;
                self.offer(page, frame, version);
                Ok(self.lookup(page).map(|frame| (frame, Weight::Minor)))
            }
            // Filled before it was mapped, and kept since.
            Kind::Special => Err(FillError::BeyondEnd),
            Kind::File(file) => {
                self.read_chunk(&**file, page, version)?;
                let weight = match file.latency() {
                    Latency::Memory => Weight::Minor,
                    Latency::Device => Weight::Major,
                };
                Ok(self.lookup(page).map(|frame| (frame, weight)))
            }
        }
    }

    /// Reads the absent pages around `page` from the file below.
    fn read_chunk(&self, file: &dyn FileBacking, page: u64, version: Version) -> Result<(), FillError> {
        let pages = self.absent_around(page);
        let mut frames = Vec::new();
        for _ in pages.clone() {
            match self.phys().alloc(self.request()) {
                Ok(frame) => frames.push(frame),
                // Read-ahead is a favour; the page itself is not.
                Err(error) if (frames.len() as u64) <= page - pages.start => return Err(error.into()),
                Err(_) => break,
            }
        }

        let mut bytes = vec![0; frames.len() * PAGE_SIZE];
        read_full(file, pages.start * PAGE_SIZE as u64, &mut bytes).map_err(FillError::File)?;
        for ((frame, bytes), page) in frames.into_iter().zip(bytes.chunks_exact(PAGE_SIZE)).zip(pages) {
            self.phys().content(frame.pfn()).write(0, bytes);
            self.offer(page, frame, version);
        }
        Ok(())
    }

    /// The pages without a frame next to `page`, itself among them, inside its
    /// aligned chunk and the object.
    fn absent_around(&self, page: u64) -> Pages {
        let start = page & !(CHUNK - 1);
        let end = (start + CHUNK).min(self.pages()).max(page + 1);
        let (mut first, mut last) = (start, end);
        self.cache.each(start..end, |cached, _| match cached < page {
            true => first = cached + 1,
            false => last = last.min(cached).max(page + 1),
        });
        first..last
    }

    /// Puts a filled frame in, unless there is one or it is out of date.
    pub(super) fn offer(&self, page: u64, frame: Frame<'_, P>, version: Version) {
        let record = self.phys().record(frame.pfn());
        record.mapping.store(self.id().raw() << 1, Ordering::Relaxed);
        record.index.store(page, Ordering::Relaxed);
        record.set(if self.is_shmem() {
            FrameFlags::UPTODATE | FrameFlags::SWAPBACKED
        } else {
            FrameFlags::UPTODATE
        });
        let pfn = frame.into_pfn();
        match self.cache.insert(page, pfn, version) {
            Ok(()) => {}
            Err(Refused::Occupied | Refused::Stale) => drop(self.phys().adopt(pfn)),
        }
    }
}

/// Reads until the buffer is full or the file ends; the rest stays zero.
fn read_full(file: &dyn FileBacking, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(offset + done as u64, &mut buffer[done..])? {
            0 => break,
            more => done += more,
        }
    }
    Ok(())
}
