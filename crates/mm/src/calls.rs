//! The memory-mapping system calls of a space: an operation on its VMAs under
//! the writer lock, then what it left to be done with pages.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_uapi::{Advice, MlockAllFlags, MlockFlags, MsyncFlags, Prot};
use foliant_units::{Errno, VirtAddr, Vpn, VpnRange};

use crate::book::{Limits, Usage};
use crate::flags::VmFlags;
use crate::layout::{Layout, task_end};
use crate::map::Change;
use crate::ops::place::Wanted;
use crate::ops::{Advised, MapRequest, MoveRequest};
use crate::pages::{Populate, Work};
use crate::space::Space;
use crate::tree::Tree;
use crate::vma::{Source, Vma};

impl<P: Mmu> Space<P> {
    /// `mmap(2)`. The address of the mapping.
    ///
    /// # Errors
    /// As `mmap(2)`; a bad descriptor was refused before.
    pub fn mmap(&self, request: &MapRequest<P>) -> Result<VirtAddr, Errno> {
        let mapped = self.changed(|change| change.mmap(request))?;
        if mapped.populate {
            self.populate_quietly(mapped.range.pages());
        }
        Ok(mapped.range.start)
    }

    /// Maps what the kernel places itself: parts of a program, its stack, the
    /// vDSO. `flags` are complete; `pgoff` of anonymous memory is its page number.
    ///
    /// # Errors
    /// `EXIST` if something is there, `NOMEM` at a limit.
    pub fn install(
        &self,
        range: VpnRange,
        flags: VmFlags,
        pgoff: u64,
        source: Source<P>,
    ) -> Result<Arc<Vma<P>>, Errno> {
        self.changed(|change| change.install(range, flags, pgoff, source))
    }

    /// Where `len` bytes would go that nobody asked to have anywhere.
    ///
    /// # Errors
    /// `NOMEM` if there is no room.
    ///
    /// # Linux source concept
    /// `get_unmapped_area()`, as the kernel itself calls it.
    pub fn unmapped_area(&self, len: u64) -> Result<VirtAddr, Errno> {
        self.changed(|change| change.find_room(Wanted::anywhere(len)))
    }

    /// `munmap(2)`.
    ///
    /// # Errors
    /// As `munmap(2)`; nothing is unmapped then.
    pub fn munmap(&self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        self.changed(|change| change.munmap(start, len))
    }

    /// `mprotect(2)`.
    ///
    /// # Errors
    /// As `mprotect(2)`; what lies before the cause has changed.
    pub fn mprotect(&self, start: VirtAddr, len: u64, prot: Prot) -> Result<(), Errno> {
        let mut rest = self.changed(|change| change.mprotect(start, len, prot))?;
        while let Some(paused) = rest {
            self.populate_quietly(paused.populate);
            rest = self.changed(|change| change.mprotect_rest(paused))?;
        }
        Ok(())
    }

    /// `mremap(2)`. The address of the pages now.
    ///
    /// # Errors
    /// As `mremap(2)`.
    pub fn mremap(&self, request: MoveRequest) -> Result<VirtAddr, Errno> {
        let moved = self.changed(|change| change.mremap(request))?;
        if let Some(range) = moved.populate {
            self.populate_quietly(range);
        }
        Ok(moved.addr)
    }

    /// `brk(2)`. The end of the heap now.
    pub fn brk(&self, to: VirtAddr) -> VirtAddr {
        let (end, populate) = self.changed(|change| change.brk(to));
        if let Some(range) = populate {
            self.populate_quietly(range);
        }
        end
    }

    /// `remap_file_pages(2)`, as Linux emulates it.
    ///
    /// # Errors
    /// `INVAL` unless all of it is one shared mapping and `prot` is zero.
    pub fn remap_file_pages(
        &self,
        start: VirtAddr,
        size: u64,
        prot: u64,
        pgoff: u64,
        flags: u64,
    ) -> Result<(), Errno> {
        let mapped = self.changed(|change| change.remap_file_pages(start, size, prot, pgoff, flags))?;
        if mapped.populate {
            self.populate_quietly(mapped.range.pages());
        }
        Ok(())
    }

    /// `madvise(2)`, with the advice as the program gave it.
    ///
    /// # Errors
    /// As `madvise(2)`.
    pub fn madvise(&self, start: VirtAddr, len: u64, advice: u32) -> Result<(), Errno> {
        let advice = Advice::from_raw(advice).ok_or(Errno::INVAL)?;
        match self.map().madvise(&mut Work::new(self), start, len, advice)? {
            Advised::Done => Ok(()),
            Advised::Populate { range, write } => {
                let how = if write { Populate::Write } else { Populate::Read };
                self.populate(range, how).map_err(|error| error.madvise_errno())
            }
        }
    }

    /// `mlock(2)` and `mlock2(2)`, whose unknown flags are refused here.
    ///
    /// # Errors
    /// As `mlock2(2)`; what was locked before a hole stays locked.
    pub fn mlock(&self, start: VirtAddr, len: u64, how: MlockFlags) -> Result<(), Errno> {
        if MlockFlags::from_bits(how.bits()).is_none() {
            return Err(Errno::INVAL);
        }
        match self.changed(|change| change.mlock(start, len, how))? {
            Some(range) => self
                .populate(range, Populate::AsMapped)
                .map_err(|error| error.mlock_errno()),
            None => Ok(()),
        }
    }

    /// `munlock(2)`.
    ///
    /// # Errors
    /// As `munlock(2)`.
    pub fn munlock(&self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        self.changed(|change| change.munlock(start, len))
    }

    /// `mlockall(2)`.
    ///
    /// # Errors
    /// As `mlockall(2)`.
    pub fn mlockall(&self, how: MlockAllFlags) -> Result<(), Errno> {
        if self.changed(|change| change.mlockall(how))? {
            self.populate_quietly(VpnRange::new(Vpn::ZERO, task_end::<P>().page()));
        }
        Ok(())
    }

    /// `munlockall(2)`.
    pub fn munlockall(&self) {
        self.changed(|change| change.munlockall());
    }

    /// `msync(2)`.
    ///
    /// # Errors
    /// As `msync(2)`; the object's own when it cannot be written.
    pub fn msync(&self, start: VirtAddr, len: u64, how: MsyncFlags) -> Result<(), Errno> {
        let plan = self.map().msync(start, len, how);
        for (mapping, pages) in plan.writes {
            mapping.object.write_back(pages)?;
            mapping.object.sync(false)?;
        }
        plan.result
    }

    /// `mincore(2)`: gives the bytes of the vector in order, as many at a time
    /// as there are.
    ///
    /// # Errors
    /// `INVAL` and `NOMEM` as `mincore(2)`; whatever `put` answers.
    pub fn mincore(
        &self,
        start: VirtAddr,
        len: u64,
        mut put: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.map().mincore(start, len, |vma, part| {
            let mut at = part.start;
            while at < part.end {
                let chunk = VpnRange::new(at, (at + 4096).min(part.end));
                let mut vector = Vec::with_capacity(chunk.len() as usize);
                self.view(vma, chunk, |page| vector.push(u8::from(page.is_in_memory())));
                vector.resize(chunk.len() as usize, 0);
                put(&vector)?;
                at = chunk.end;
            }
            Ok(())
        })
    }

    /// `mseal(2)`.
    ///
    /// # Errors
    /// As `mseal(2)`; nothing is sealed then.
    pub fn mseal(&self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        self.changed(|change| change.mseal(start, len))
    }

    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME)`.
    ///
    /// # Errors
    /// As the call.
    pub fn name_anonymous(&self, start: VirtAddr, len: u64, name: Option<Arc<str>>) -> Result<(), Errno> {
        self.changed(|change| change.name(start, len, name.as_ref()))
    }

    /// The VMAs now, in order.
    pub fn vmas(&self) -> Tree<Vma<P>> {
        self.map().snapshot()
    }

    /// Where things are; waits for the writer.
    pub fn layout(&self) -> Layout {
        self.map().book().layout.clone()
    }

    /// Changes where things are, as exec and `prctl(PR_SET_MM)` do.
    pub fn set_layout<R>(&self, change: impl FnOnce(&mut Layout) -> R) -> R {
        change(&mut self.map().book().layout)
    }

    /// What the process may use; waits for the writer.
    pub fn limits(&self) -> Limits {
        self.map().book().limits
    }

    /// Changes what the process may use, as `setrlimit` and new credentials do.
    pub fn set_limits(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.map().book().limits);
    }

    /// What the VMAs add up to; waits for the writer.
    pub fn usage(&self) -> Usage {
        self.map().book().usage
    }

    /// Runs one operation under the writer lock.
    fn changed<R>(&self, operation: impl FnOnce(&mut Change<'_, P, Work<'_, P>>) -> R) -> R {
        let mut work = Work::new(self);
        operation(&mut self.map().change(&mut work))
    }
}
