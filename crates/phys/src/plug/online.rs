//! Giving the frames of a section to the allocator.

use foliant_platform::Platform;
use foliant_units::{Pfn, PfnRange};

use super::SectionState;
use super::error::SectionError;
use crate::alloc::{BLOCK, Mobility, Some64, block_of};
use crate::boot::NodeId;
use crate::phys::Phys;
use crate::sections::{SectionInfo, frames_of, section_of};
use crate::zone::{Zone, ZoneId, ZoneKind, ZoneLayout};

/// Into which zone memory goes.
///
/// # Linux source concept
/// `online_type` of a memory block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnlineTo {
    /// Where its neighbours are, else for the kernel (`online`).
    #[default]
    Default,
    /// Where the kernel's own data can lie (`online_kernel`).
    Kernel,
    /// Where only folios lie that can be moved (`online_movable`).
    Movable,
}

impl<P: Platform> Phys<P> {
    /// Gives the section that `pfn` is in to the allocator, in the zone that
    /// was asked for. Watermarks and what is kept back follow.
    ///
    /// # Errors
    /// [`SectionError::Absent`], [`SectionError::Already`] or
    /// [`SectionError::NoZone`].
    ///
    /// # Locking
    /// The caller holds no spin lock.
    ///
    /// # Linux source concept
    /// `online_pages()`.
    pub fn online_section(&self, pfn: Pfn, to: OnlineTo) -> Result<(), SectionError> {
        let _one = self.plugging.lock();
        self.online_unlocked(pfn, to)
    }

    /// The same for those who hold the lock.
    pub(super) fn online_unlocked(&self, pfn: Pfn, to: OnlineTo) -> Result<(), SectionError> {
        match self.section_state(pfn) {
            SectionState::Absent => return Err(SectionError::Absent),
            SectionState::Online => return Err(SectionError::Already),
            SectionState::Offline => {}
        }
        let section = section_of(pfn);
        let (frames, info) = (frames_of(section), self.sections.info(section));
        let kind = self.zone_for(frames, info.node, to);
        let (id, zone) = self.zones.find(kind, info.node).ok_or(SectionError::NoZone)?;
        zone.grow(frames);
        self.sections.set(
            section,
            SectionInfo {
                offline: false,
                ..info
            },
        );
        for block in block_of(frames.start)..block_of(frames.end) {
            self.free_new_block(block, id, zone);
        }
        self.settle();
        Ok(())
    }

    /// A block whose frames nobody knows yet becomes the zone's.
    fn free_new_block(&self, block: usize, id: ZoneId, zone: &Zone) {
        let tag = &self.blocks.tags[block];
        tag.set_zone(id);
        tag.set_mobility(Mobility::Movable);
        tag.set_gapless();
        if tag.is_tables() {
            return;
        }
        zone.manage(BLOCK as u64);
        let twice = self.blocks.give_whole(zone, Some64::one(block));
        debug_assert!(twice.is_empty(), "block {block} was offline");
    }

    /// The kind of the zone that frames of a node go to.
    ///
    /// # Linux source concept
    /// `zone_for_pfn_range()` with the `contig-zones` policy.
    fn zone_for(&self, frames: PfnRange, node: NodeId, to: OnlineTo) -> ZoneKind {
        let meets = |kind: ZoneKind| {
            let zone = self.zones.find(kind, node);
            zone.is_some_and(|(_, zone)| zone.span().overlaps(frames))
        };
        let highest = match self.zones.layout() {
            ZoneLayout::X86_64 => ZoneKind::Normal,
            layout @ ZoneLayout::I386 { .. } => layout.kind_of(frames.start, Pfn::new(u64::MAX)),
        };
        let lower = ZoneKind::ALL.into_iter().filter(|kind| *kind < highest);
        let kernel = lower.into_iter().find(|&kind| meets(kind)).unwrap_or(highest);
        match to {
            OnlineTo::Kernel => kernel,
            OnlineTo::Movable => ZoneKind::Movable,
            OnlineTo::Default if meets(ZoneKind::Movable) && !meets(kernel) => ZoneKind::Movable,
            OnlineTo::Default => kernel,
        }
    }

    /// The zones that a section is in or could go online to, the one that it
    /// would first; none if it is in more than one.
    ///
    /// # Linux source concept
    /// `valid_zones_show()`.
    pub fn valid_zones(&self, pfn: Pfn) -> impl Iterator<Item = ZoneKind> {
        let (section, state) = (section_of(pfn), self.section_state(pfn));
        let (frames, node) = (frames_of(section), self.sections.info(section).node);
        let mut kinds = [None; 3];
        match state {
            SectionState::Absent => {}
            SectionState::Online => {
                let only = self.only_zone(section);
                kinds[0] = only.map(|id| self.zones.get(id).kind());
            }
            SectionState::Offline => {
                let default = self.zone_for(frames, node, OnlineTo::Default);
                kinds[0] = Some(default);
                for (at, to) in [(1, OnlineTo::Kernel), (2, OnlineTo::Movable)] {
                    let kind = self.zone_for(frames, node, to);
                    kinds[at] = (kind != default).then_some(kind);
                }
            }
        }
        kinds.into_iter().flatten()
    }

    /// The zone that all frames of a section are in.
    pub(super) fn only_zone(&self, section: usize) -> Option<ZoneId> {
        let frames = frames_of(section);
        let mut zones = (block_of(frames.start)..block_of(frames.end))
            .filter_map(|block| self.blocks.tags.get(block)?.zone());
        let first = zones.next()?;
        zones.all(|zone| zone == first).then_some(first)
    }
}
