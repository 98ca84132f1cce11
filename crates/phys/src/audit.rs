//! Every frame accounted for.

use core::fmt;
use std_alloc::vec;
use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_units::{Pfn, PfnRange};

use crate::alloc::{PFN_LIMIT, RingClass, block_of, place_of};
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};
use crate::sections::section_of;
use crate::zone::ZoneKind;

/// A broken rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Freed or put once too often.
    DoubleFree(Pfn),
    /// Freed with flags or mappings that a free frame cannot have.
    BadState {
        /// The frame.
        pfn: Pfn,
        /// Its flags.
        flags: FrameFlags,
        /// Entries of page tables that still map it.
        maps: u32,
        /// Whose it was.
        owner: Owner,
    },
    /// Changed between being freed and being given out.
    WrittenWhileFree(Pfn),
    /// Freed, but not RAM.
    NotRam(Pfn),
    /// Neither free nor in use: nobody will ever free it.
    Lost(Pfn),
    /// Free and in use at once, or free twice.
    Twice(Pfn),
    /// The count of a device's folios that somebody has is wrong.
    DeviceCount {
        /// What it counts.
        counted: u64,
        /// What is there.
        found: u64,
    },
    /// The zone's count of free frames is wrong.
    FreeCount {
        /// Which zone.
        zone: ZoneKind,
        /// What it counts.
        counted: u64,
        /// What is there.
        found: u64,
    },
}

impl Violation {
    /// The frame that it is about, if it is one.
    pub const fn frame(&self) -> Option<Pfn> {
        match *self {
            Self::DoubleFree(pfn)
            | Self::WrittenWhileFree(pfn)
            | Self::NotRam(pfn)
            | Self::Lost(pfn)
            | Self::Twice(pfn)
            | Self::BadState { pfn, .. } => Some(pfn),
            Self::FreeCount { .. } | Self::DeviceCount { .. } => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::DoubleFree(pfn) => write!(f, "{pfn:?} was freed twice"),
            Violation::BadState {
                pfn,
                flags,
                maps,
                owner,
            } => {
                let owner = owner.name();
                write!(
                    f,
                    "{pfn:?} was freed while still in use ({owner}): mapped {maps} times, "
                )?;
                write!(f, "{:?}", flags.intersection(FrameFlags::FORBIDDEN_AT_FREE))
            }
            Violation::WrittenWhileFree(pfn) => write!(f, "{pfn:?} was written to while free"),
            Violation::NotRam(pfn) => write!(f, "{pfn:?} was freed but is not RAM"),
            Violation::Lost(pfn) => write!(f, "{pfn:?} is neither free nor in use"),
            Violation::Twice(pfn) => write!(f, "{pfn:?} is free and in use, or free twice"),
            Violation::DeviceCount { counted, found } => {
                write!(f, "a device counts {counted} folios in use but has {found}")
            }
            Violation::FreeCount { zone, counted, found } => {
                write!(
                    f,
                    "zone {} counts {counted} free frames but has {found}",
                    zone.name()
                )
            }
        }
    }
}

/// Where the frames of a machine are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// In the lines.
    pub free: u64,
    /// In rings.
    pub cached: u64,
    /// With references.
    pub allocated: u64,
    /// Not the allocator's.
    pub reserved: u64,
    /// In sections that are offline.
    pub offline: u64,
}

impl Census {
    /// What can be had without reclaim.
    pub const fn available(&self) -> u64 {
        self.free + self.cached
    }
}

/// How often each frame was found somewhere; more than once is wrong.
struct Ledger {
    first: Pfn,
    seen: Vec<u8>,
}

impl Ledger {
    fn note(&mut self, pfn: Pfn, frames: u64, report: &mut dyn FnMut(Violation)) {
        for at in 0..frames {
            match self.seen.get_mut((pfn + at - self.first) as usize) {
                Some(0) => self.seen[(pfn + at - self.first) as usize] = 1,
                Some(_) => report(Violation::Twice(pfn + at)),
                None => report(Violation::NotRam(pfn + at)),
            }
        }
    }
}

impl<P: Platform> Phys<P> {
    /// Looks at every frame and reports each that is lost or found twice, and
    /// each zone whose count is wrong. Meaningful while nobody allocates or
    /// frees; takes time and heap memory in proportion to RAM.
    pub fn audit(&self, report: &mut dyn FnMut(Violation)) -> Census {
        let mut census = Census::default();
        let first = self.sections.ranges().next().map(|range| range.start);
        let end = self.sections.ranges().last().map(|range| range.end);
        let (Some(first), Some(end)) = (first, end) else {
            return census;
        };
        let mut ledger = Ledger {
            first,
            seen: vec![0; (end - first) as usize],
        };

        self.note_rings(&mut ledger, &mut census, report);
        self.note_records(&mut ledger, &mut census, report);
        for pfn in self.sections.ranges().flat_map(|range| range.iter()) {
            if ledger.seen[(pfn - first) as usize] == 0 {
                report(Violation::Lost(pfn));
            }
        }
        self.audit_counts(report);
        census
    }

    /// Where the frames are, without a judgement.
    pub fn census(&self) -> Census {
        self.audit(&mut |_| ())
    }

    fn note_rings(&self, ledger: &mut Ledger, census: &mut Census, report: &mut dyn FnMut(Violation)) {
        for cpu in 0..self.cpus.len() {
            for (id, _) in self.zones.iter() {
                for (at, ring) in self.cpus.zone_rings(cpu, id).iter().enumerate() {
                    let frames = RingClass::order_at(at).frames();
                    for entry in ring.iter() {
                        ledger.note(entry.pfn(), frames, report);
                        census.cached += frames;
                    }
                }
            }
        }
    }

    fn note_records(&self, ledger: &mut Ledger, census: &mut Census, report: &mut dyn FnMut(Violation)) {
        for range in self.offline_ranges() {
            ledger.note(range.start, range.len(), report);
            census.offline += range.len();
        }
        for pfn in self.sections.ranges().flat_map(|range| range.iter()) {
            if self.sections.info(section_of(pfn)).offline {
                continue;
            }
            let in_line = self.blocks.lines[block_of(pfn)].is_free(place_of(pfn));
            for _ in [in_line, self.blocks.whole.has(block_of(pfn))]
                .iter()
                .filter(|&&free| free)
            {
                ledger.note(pfn, 1, report);
                census.free += 1;
            }
            let record = self.record(pfn);
            if record.has(FrameFlags::RESERVED) || self.is_table(pfn) {
                ledger.note(pfn, 1, report);
                census.reserved += 1;
            } else if record.refs.get() != 0 {
                ledger.note(pfn, record.order().frames(), report);
                census.allocated += record.order().frames();
            }
        }
    }

    fn offline_ranges(&self) -> impl Iterator<Item = PfnRange> {
        let offline = (0..self.sections.len()).filter(|&section| self.sections.info(section).offline);
        offline.flat_map(|section| self.sections.in_section(section))
    }

    fn audit_counts(&self, report: &mut dyn FnMut(Violation)) {
        if !self.blocks.lines.blank().is_used_up() {
            report(Violation::NotRam(Pfn::new(PFN_LIMIT)));
        }
        for map in self.devices.lock().iter() {
            let (counted, found) = (map.taken(), self.taken_of(map));
            if counted != found {
                report(Violation::DeviceCount { counted, found });
            }
        }
        for (id, zone) in self.zones.iter() {
            let found: u64 = zone
                .blocks()
                .filter(|&block| self.blocks.tags[block].zone() == Some(id))
                .map(|block| u64::from(self.blocks.count(block)))
                .sum();
            let counted = self.free_exactly(id, zone);
            if found != counted {
                report(Violation::FreeCount {
                    zone: zone.kind(),
                    counted,
                    found,
                });
            }
        }
    }
}
