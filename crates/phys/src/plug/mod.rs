//! Memory that comes, goes, and changes its state, in sections of 128 MiB.
//!
//! A section is added ([`Phys::add_memory`]), which gives its frames records,
//! put [online](Phys::online_section) into a zone, taken
//! [offline](Phys::offline_section) by moving away whatever is in it, and
//! [removed](Phys::remove_memory). The memory of boot can go offline and be
//! removed in the same way, as far as nothing in it has to stay.
//!
//! # Lock protocol
//! One change at a time, under a lock that may be held while others are waited
//! for; what the allocator reads meanwhile is published by the tags of blocks.
//!
//! # Linux source concept
//! mm/memory_hotplug.c and drivers/base/memory.c.

mod add;
mod error;
mod mapper;
mod offline;
mod online;
mod remove;

pub use add::{NewMemory, RecordsIn};
pub use error::{AddError, RemoveError, SectionError};
pub use mapper::MapMemory;
pub use online::OnlineTo;

use foliant_platform::Platform;
use foliant_units::Pfn;

use crate::alloc::BLOCK;
use crate::boot::NodeId;
use crate::phys::Phys;
use crate::sections::{Origin, Part, frames_of, section_of};

/// Whether the allocator has the frames of a section.
///
/// # Linux source concept
/// `/sys/devices/system/memory/memoryN/state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionState {
    /// There is no RAM.
    Absent,
    /// It has them.
    Online,
    /// It has none of them: the RAM may be taken out.
    Offline,
}

impl<P: Platform> Phys<P> {
    /// The state of the section that `pfn` is in.
    pub fn section_state(&self, pfn: Pfn) -> SectionState {
        let info = self.sections.info(section_of(pfn));
        match info.origin {
            Origin::Absent | Origin::Device => SectionState::Absent,
            Origin::Boot | Origin::Added if info.offline => SectionState::Offline,
            Origin::Boot | Origin::Added => SectionState::Online,
        }
    }

    /// The first frames of all sections that have RAM.
    pub fn sections(&self) -> impl Iterator<Item = Pfn> {
        let ram = |origin| matches!(origin, Origin::Boot | Origin::Added);
        let present = move |&section: &usize| ram(self.sections.info(section).origin);
        let all = (0..self.sections.len()).filter(present);
        all.map(|section| frames_of(section).start)
    }

    /// The first frames of all sections that were [added](Phys::add_memory).
    pub fn added_sections(&self) -> impl Iterator<Item = Pfn> {
        let added = |pfn: &Pfn| self.sections.info(section_of(*pfn)).origin == Origin::Added;
        self.sections().filter(added)
    }

    /// Frames that the allocator gave for what is known of added sections.
    pub fn frames_for_added(&self) -> u64 {
        let of_section = |first: Pfn| {
            let (section, own) = (section_of(first), frames_of(section_of(first)));
            let homes = Part::ALL.map(|part| self.sections.home(section, part));
            let outside = homes.into_iter().filter(|home| !own.overlaps(*home));
            outside.map(|home| home.len()).sum::<u64>()
        };
        self.added_sections().map(of_section).sum()
    }

    /// The node that the section of `pfn` is on.
    pub fn section_node(&self, pfn: Pfn) -> NodeId {
        let section = section_of(pfn);
        let blocks = frames_of(section).iter().step_by(BLOCK);
        let zone = blocks.filter_map(|pfn| self.zone_of(pfn)).next();
        match zone {
            Some(id) => self.zones.get(id).node(),
            None => self.sections.info(section).node,
        }
    }

    /// Whether the allocator has, or gave, a frame: its section is online.
    ///
    /// # Linux source concept
    /// `pfn_to_online_page()`.
    pub fn is_online(&self, pfn: Pfn) -> bool {
        self.is_ram(pfn) && !self.sections.info(section_of(pfn)).offline
    }

    /// After the sizes of zones have changed: everything that is worked out
    /// from them, and which zones CPUs ask first.
    pub(crate) fn settle(&self) {
        let policy = *self.policy.lock();
        self.zones.settle(&policy, self.platform.cpus());
        self.tell_cpus();
    }
}
