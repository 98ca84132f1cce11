//! `remap_file_pages`, which is a `mmap` since Linux 4.0.

use alloc::vec::Vec;

use foliant_units::{Errno, PAGE_MASK, PAGE_SHIFT, VirtAddr, VirtRange};

use super::map::{MAY_ALL, Mapped};
use crate::flags::VmFlags;
use crate::map::Change;
use crate::vma::Backing;
use crate::work::PageWork;

/// `MAP_NONBLOCK`, the one flag.
const NONBLOCK: u64 = 0x1_0000;

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Shows another part of the object in a range that is one shared mapping.
    ///
    /// # Errors
    /// `INVAL` for a non-zero `prot`, a range that wraps or is not one shared
    /// mapping; those of `mmap`.
    ///
    /// # Linux source concept
    /// `sys_remap_file_pages()`.
    pub fn remap_file_pages(
        &mut self,
        start: VirtAddr,
        size: u64,
        prot: u64,
        pgoff: u64,
        flags: u64,
    ) -> Result<Mapped, Errno> {
        let start = VirtAddr::new(start.raw() & PAGE_MASK);
        let range = VirtRange::sized(start, size & PAGE_MASK).filter(|range| !range.is_empty());
        let range = range.filter(|_| prot == 0).ok_or(Errno::INVAL)?;
        if pgoff.checked_add(range.len() >> PAGE_SHIFT).is_none() {
            return Err(Errno::INVAL);
        }
        let pages = range.pages();
        let parts: Vec<_> = self.tree.overlapping(pages).cloned().collect();
        let first = parts.first().filter(|first| first.range.contains(pages.start));
        let first = first
            .filter(|first| first.is_shared())
            .ok_or(Errno::INVAL)?
            .clone();
        let mut end = pages.start;
        for part in &parts {
            let same = part.source.same(&first.source) && part.flags == first.flags;
            if (end != pages.start && part.range.start != end) || !same {
                return Err(Errno::INVAL);
            }
            end = part.range.end;
        }
        if end < pages.end {
            return Err(Errno::INVAL);
        }
        // A new mapping with the old rights: advice and the like are forgotten.
        let rights = first.flags & (VmFlags::ACCESS | VmFlags::LOCKED);
        let kept = rights | self.book.future | MAY_ALL | VmFlags::SHARED | VmFlags::MAYSHARE;
        self.replace(pages, kept, pgoff, first.source.clone())?;
        Ok(Mapped {
            range,
            populate: flags & NONBLOCK == 0,
        })
    }
}
