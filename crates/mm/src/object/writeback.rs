//! Carrying what mappings wrote down to the file.

use alloc::vec;

use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_units::{Errno, PAGE_SIZE, Pfn};

use super::backing::FileBacking;
use super::cache::Pages;
use super::object::{Kind, Object};

/// Pages written at once.
const RUN: usize = 16;

impl<P: Mmu> Object<P> {
    /// Writes the dirty frames of `pages` to the file below. Stores that
    /// happen meanwhile make their pages dirty again.
    ///
    /// # Errors
    /// The first that the file below returns; that run of pages stays dirty.
    pub fn write_back(&self, pages: Pages) -> Result<(), Errno> {
        let Kind::File(file) = &self.kind else {
            return Ok(());
        };
        let mut frames = [Pfn::ZERO; RUN];
        let mut next = pages.start;
        while let Some(run) = self.take_run(next..pages.end, &mut frames) {
            let count = (run.end - run.start) as usize;
            // Clean in the tables before the bytes are read: a later store faults
            // and says so.
            self.protect(&run);
            let result = self.write_run(&**file, &run, &frames[..count]);
            for (page, &pfn) in run.clone().zip(&frames[..count]) {
                if result.is_err() {
                    let _ = self.dirty(page, pfn);
                }
                drop(self.phys().adopt(pfn));
            }
            result?;
            next = run.end;
        }
        Ok(())
    }

    /// Writes everything back and makes the file below durable; without
    /// `metadata` as `fdatasync(2)` does.
    ///
    /// # Errors
    /// Those of the file below.
    pub fn sync(&self, metadata: bool) -> Result<(), Errno> {
        self.write_back(0..u64::MAX)?;
        match &self.kind {
            Kind::File(file) => file.sync(metadata),
            Kind::Shmem(_) | Kind::Special => Ok(()),
        }
    }

    /// Writes `pages` back and makes the file below durable (`msync`).
    ///
    /// # Errors
    /// Those of the file below.
    pub fn sync_pages(&self, pages: Pages) -> Result<(), Errno> {
        self.write_back(pages)?;
        match &self.kind {
            Kind::File(file) => file.sync(false),
            Kind::Shmem(_) | Kind::Special => Ok(()),
        }
    }

    /// Takes the first dirty pages in a row out of the dirty set; `frames`
    /// gets a reference to each.
    fn take_run(&self, pages: Pages, frames: &mut [Pfn; RUN]) -> Option<Pages> {
        let mut run = pages.start..pages.start;
        for slot in frames {
            let wanted = if run.is_empty() { pages.start } else { run.end };
            let last = if run.is_empty() {
                pages.end
            } else {
                (run.end + 1).min(pages.end)
            };
            let taken = self.cache.take_dirty(wanted..last, |pfn| {
                self.phys().record(pfn).clear(FrameFlags::DIRTY);
                self.phys().get(pfn).into_pfn()
            });
            let Some((page, pfn)) = taken else { break };
            *slot = pfn;
            run.start = if run.is_empty() { page } else { run.start };
            run.end = page + 1;
        }
        (!run.is_empty()).then_some(run)
    }

    fn write_run(&self, file: &dyn FileBacking, run: &Pages, frames: &[Pfn]) -> Result<(), Errno> {
        let start = run.start * PAGE_SIZE as u64;
        // Bytes past the end exist in memory only.
        let len = self
            .size()
            .saturating_sub(start)
            .min((frames.len() * PAGE_SIZE) as u64) as usize;
        let mut bytes = vec![0; len];
        for (part, &pfn) in bytes.chunks_mut(PAGE_SIZE).zip(frames) {
            self.phys().content(pfn).read(0, part);
        }
        let mut done = 0;
        while done < len {
            match file.write_at(start + done as u64, &bytes[done..])? {
                0 => return Err(Errno::IO),
                more => done += more,
            }
        }
        Ok(())
    }

    /// Makes `pages` clean and read-only in every shared mapping.
    fn protect(&self, pages: &Pages) {
        for space in self.mappers() {
            space.clean_object(self, pages);
        }
    }
}
