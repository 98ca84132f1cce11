//! Memory that goes.

use foliant_platform::Platform;
use foliant_units::{Order, Pfn, PfnRange, PhysRange};

use super::error::RemoveError;
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};
use crate::sections::{Origin, Part, SECTION, SectionInfo, frames_of, section_of};

impl<P: Platform> Phys<P> {
    /// Takes memory out of the machine that is offline: its records go, and
    /// nobody may reach its bytes through the allocator any more.
    ///
    /// Who looks at the records of frames that it has no reference to must not
    /// hold on to them over this: what it sees then is stale, as the number is.
    ///
    /// # Errors
    /// [`RemoveError`]; everything is as before then.
    ///
    /// # Locking
    /// The caller holds no spin lock.
    ///
    /// # Linux source concept
    /// `remove_memory()`.
    pub fn remove_memory(&self, frames: PfnRange) -> Result<(), RemoveError> {
        let _one = self.plugging.lock();
        let whole = [frames.start, frames.end];
        if frames.is_empty() || !whole.iter().all(|pfn| pfn.is_aligned_to(SECTION)) {
            return Err(RemoveError::Unaligned);
        }
        let sections = section_of(frames.start)..section_of(frames.end);
        for section in sections.clone() {
            match self.sections.info(section) {
                SectionInfo {
                    origin: Origin::Absent | Origin::Device,
                    ..
                } => return Err(RemoveError::Absent),
                SectionInfo { offline: false, .. } => return Err(RemoveError::Online),
                _ => {}
            }
        }
        let range = PhysRange::new(frames.start.base(), frames.end.base());
        let mapper = self.mapper();
        if let Some(mapper) = &mapper {
            mapper.prepare_unmap(range).map_err(RemoveError::NotUnmapped)?;
        }
        sections.for_each(|section| self.forget_section(section));
        // After the records, which may lie in the memory itself.
        if let Some(mapper) = mapper {
            mapper.unmap(range);
        }
        Ok(())
    }

    /// Takes back what [`give_section`](Phys::give_section) or boot gave.
    pub(super) fn forget_section(&self, section: usize) {
        let info = self.sections.info(section);
        let homes = Part::ALL.map(|part| self.sections.home(section, part));
        if let Some(mapper) = self.mapper() {
            mapper.unmap_records(frames_of(section));
        }
        // Before the pieces go: the records of the homes may be among them.
        homes.into_iter().for_each(|home| self.own_tables().unmark(home));
        self.near.end_at(frames_of(section).start.index());
        self.records.pieces().take_back(section);
        self.blocks.lines.take_back(section);
        self.blocks.used.take_back(section);
        self.sections.set(section, SectionInfo::default());
        for part in Part::ALL {
            self.sections
                .set_home(section, part, PfnRange::new(Pfn::ZERO, Pfn::ZERO));
        }

        let [records, lines, used] = homes;
        match info.origin {
            // One folio has both frames of lines.
            Origin::Added => {
                if !info.on_itself {
                    drop(self.adopt(records.start));
                }
                drop(self.adopt(lines.start));
            }
            Origin::Boot => [records, lines, used]
                .into_iter()
                .for_each(|home| self.free_reserved(home)),
            Origin::Absent | Origin::Device => {}
        }
    }

    /// Gives a frame that boot reserved for the caller to the allocator; tells
    /// whether it was one. Watermarks stay as they are.
    ///
    /// # Linux source concept
    /// `free_reserved_page()`, as `free_pagetable()` uses it.
    pub fn put_reserved(&self, pfn: Pfn) -> bool {
        let reserved = !self.is_table(pfn) && self.record(pfn).has(FrameFlags::RESERVED);
        if reserved {
            self.free_each(PfnRange::new(pfn, pfn + 1));
        }
        reserved
    }

    /// Gives frames that were reserved since boot to the allocator.
    ///
    /// # Linux source concept
    /// `free_reserved_page()`.
    fn free_reserved(&self, frames: PfnRange) {
        self.free_each(frames);
        self.settle();
    }

    fn free_each(&self, frames: PfnRange) {
        for pfn in frames.iter() {
            let Some(id) = self.zone_of(pfn) else { continue };
            self.record(pfn).begin(Order::ZERO, Owner::Records);
            self.zones.get(id).manage_used(1);
            drop(self.adopt(pfn));
        }
    }
}
