//! Taking the frames of a section from the allocator.

use foliant_platform::Platform;
use foliant_units::{Pfn, PfnRange};

use super::SectionState;
use super::error::SectionError;
use crate::alloc::block_of;
use crate::migrate::Migrator;
use crate::phys::Phys;
use crate::record::{FrameFlags, Left, Owner};
use crate::sections::{Part, SECTION, SectionInfo, frames_of, section_of};
use crate::zone::ZoneId;

impl<P: Platform> Phys<P> {
    /// Takes the section that `pfn` is in out of use: closes its blocks, has
    /// everything in it moved away, and takes the frames from the allocator.
    /// Watermarks and what is kept back follow.
    ///
    /// # Errors
    /// [`SectionError`]; the section is as online as before then. Linux tries
    /// again, until a signal comes, where [`ContigError::may_pass`] says yes.
    ///
    /// [`ContigError::may_pass`]: crate::ContigError::may_pass
    ///
    /// # Locking
    /// The caller holds no spin lock: it may wait for the migrator.
    ///
    /// # Linux source concept
    /// `offline_pages()`.
    pub fn offline_section(&self, pfn: Pfn, migrator: &dyn Migrator) -> Result<(), SectionError> {
        let _one = self.plugging.lock();
        match self.section_state(pfn) {
            SectionState::Absent => return Err(SectionError::Absent),
            SectionState::Offline => return Err(SectionError::Already),
            SectionState::Online => {}
        }
        let section = section_of(pfn);
        let frames = frames_of(section);
        if self.sections.in_section(section).next() != Some(frames) {
            return Err(SectionError::Holes);
        }
        let zone = self.only_zone(section).ok_or(SectionError::ManyZones)?;
        let frames = self.without_own_records(section);
        let stays = |&pfn: &Pfn| self.is_table(pfn) || self.record(pfn).has(FrameFlags::RESERVED);
        if let Some(stays) = frames.iter().find(stays) {
            return Err(SectionError::Reserved(stays));
        }
        let run = self
            .alloc_contig_range(frames, Owner::Kernel, migrator)
            .map_err(SectionError::Contig)?;
        self.take_out(section, zone, run.into_frames());
        Ok(())
    }

    /// The frames of a section but for those that hold its own records.
    fn without_own_records(&self, section: usize) -> PfnRange {
        let frames = frames_of(section);
        let records = self.sections.home(section, Part::Records);
        let on_itself = self.sections.info(section).on_itself;
        let first = if on_itself { records.end } else { frames.start };
        PfnRange::new(first, frames.end)
    }

    /// Frames that were just allocated leave their zone.
    fn take_out(&self, section: usize, id: ZoneId, frames: PfnRange) {
        for pfn in frames.iter() {
            let record = self.record(pfn);
            let left = record.refs.put();
            debug_assert_eq!(left, Left::None, "{pfn:?} is shared");
            self.note_freed(pfn);
            record.end(FrameFlags::empty());
        }
        let info = self.sections.info(section);
        self.sections.set(
            section,
            SectionInfo {
                offline: true,
                node: self.zones.get(id).node(),
                ..info
            },
        );
        let all = frames_of(section);
        for block in block_of(all.start)..block_of(all.end) {
            self.blocks.tags[block].leave_zone();
        }
        let zone = self.zones.get(id);
        zone.unmanage(frames.len());
        zone.lose(SECTION);
        zone.shrink(|block| self.blocks.tags[block].zone() == Some(id));
        self.settle();
    }
}
