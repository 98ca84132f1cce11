//! Faulting pages in ahead of their use.

use foliant_paging::Missing;
use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_units::{Errno, Vpn, VpnRange};

use super::slot;
use crate::counters::Resident;
use crate::fault::{Access, Fault, FaultError, Shows, SlotState, fill_ahead};
use crate::flags::VmFlags;
use crate::space::Space;
use crate::vma::Vma;

/// How pages are to be faulted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Populate {
    /// As the mapping is used: private writable ones for writing, others for
    /// reading (`MAP_POPULATE`, `mlock`).
    AsMapped,
    /// For reading (`MADV_POPULATE_READ`).
    Read,
    /// For writing (`MADV_POPULATE_WRITE`).
    Write,
}

/// What stopped population.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PopulateError {
    /// Nothing is mapped at this page.
    Hole(Vpn),
    /// The mapping does not allow it.
    Rights(Vpn),
    /// The page could not be had.
    Fault(Vpn, FaultError),
}

impl PopulateError {
    /// What `mlock(2)` says.
    pub const fn mlock_errno(self) -> Errno {
        match self {
            PopulateError::Hole(_) | PopulateError::Rights(_) => Errno::NOMEM,
            PopulateError::Fault(_, FaultError::OutOfMemory) => Errno::AGAIN,
            PopulateError::Fault(_, FaultError::Segv(_) | FaultError::Bus) => Errno::NOMEM,
        }
    }

    /// What `madvise(MADV_POPULATE_*)` says.
    pub const fn madvise_errno(self) -> Errno {
        match self {
            PopulateError::Hole(_) => Errno::NOMEM,
            PopulateError::Rights(_) => Errno::INVAL,
            PopulateError::Fault(_, error) => error.errno(),
        }
    }
}

impl<P: Mmu> Space<P> {
    /// Faults the pages of `range` in.
    ///
    /// # Errors
    /// The first page that cannot be had, or the first hole; everything before
    /// it is there.
    ///
    /// # Locking
    /// No lock may be held: it faults.
    ///
    /// # Linux source concept
    /// `__mm_populate()` and `faultin_page_range()`.
    pub fn populate(&self, range: VpnRange, how: Populate) -> Result<(), PopulateError> {
        let mut at = range.start;
        while at < range.end {
            let vma = self.map().find(at).ok_or(PopulateError::Hole(at))?;
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            self.populate_part(&vma, part, how)?;
            at = part.end;
        }
        Ok(())
    }

    /// Faults in what of `range` is mapped, as `MAP_POPULATE` and `mlockall`
    /// do: failures are passed over.
    pub fn populate_quietly(&self, range: VpnRange) {
        let mut at = range.start;
        // A mapping that reaches beyond the range is found again at its end.
        while at < range.end
            && let Some(vma) = self.map().find_above(at)
            && vma.range.start < range.end
        {
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            let _ = self.populate_part(&vma, part, Populate::AsMapped);
            at = part.end;
        }
    }

    fn populate_part(&self, vma: &Vma<P>, part: VpnRange, how: Populate) -> Result<(), PopulateError> {
        let special = vma.flags.intersects(VmFlags::IO | VmFlags::PFNMAP);
        let write = match how {
            Populate::AsMapped if special || vma.flags.contains(VmFlags::LOCKONFAULT) => return Ok(()),
            Populate::AsMapped => (vma.flags & (VmFlags::WRITE | VmFlags::SHARED)) == VmFlags::WRITE,
            Populate::Read => false,
            Populate::Write => true,
        };
        let needed = match (how, write) {
            (_, true) => VmFlags::WRITE,
            (Populate::AsMapped, false) => VmFlags::ACCESS,
            (_, false) => VmFlags::READ,
        };
        if !vma.flags.intersects(needed) || (special && how != Populate::AsMapped) {
            return Err(PopulateError::Rights(part.start));
        }
        let mut page = part.start;
        while page < part.end {
            let ahead = match write {
                true => fill_ahead(self, vma, VpnRange::new(page, part.end)),
                false => 0,
            };
            if ahead > 0 {
                page += ahead;
                continue;
            }
            self.populate_page(page, write)
                .map_err(|error| PopulateError::Fault(page, error))?;
            if write {
                self.note_write(vma, page);
            }
            page += 1;
        }
        Ok(())
    }

    /// Faults one page in, until it is there.
    fn populate_page(&self, page: Vpn, write: bool) -> Result<(), FaultError> {
        let access = if write { Access::Write } else { Access::Read };
        while !self.is_populated(page, write) {
            self.fault(Fault {
                addr: page.base(),
                access,
                user: false,
            })?;
        }
        Ok(())
    }

    /// Calls a frame dirty that the program may write now: a page that is
    /// populated for writing counts as written.
    ///
    /// # Linux source concept
    /// `FOLL_TOUCH` with `FOLL_WRITE`.
    fn note_write(&self, vma: &Vma<P>, page: Vpn) {
        // Skipping allocates nothing.
        let Ok(Some(leaf)) = self.tables().lock_leaf(page, Missing::Skip) else {
            return;
        };
        let entry = leaf.get(page);
        if entry.is_dirty() {
            return;
        }
        match (slot::counted(self.env(), entry), vma.object()) {
            (Some((frame, Resident::File | Resident::Shmem)), Some(object)) => {
                let _ = object.dirty(vma.pgoff_at(page), frame);
            }
            (Some((frame, _)), _) => {
                self.env().phys().record(frame).set(FrameFlags::DIRTY);
            }
            (None, _) => {}
        }
    }

    /// Whether an access would find the page there. An exclusive frame that is
    /// write-protected only because nobody wrote yet still takes a fault.
    fn is_populated(&self, page: Vpn, write: bool) -> bool {
        match slot::state(self.env(), self.tables().get(page)) {
            SlotState::Present { writable, shows, .. } => !write || (writable && shows != Shows::Zero),
            SlotState::Empty
            | SlotState::Swapped
            | SlotState::Migrating
            | SlotState::Guard
            | SlotState::Poison => false,
        }
    }
}
