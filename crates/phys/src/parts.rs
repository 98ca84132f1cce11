//! Giving a section one of its parts.

use foliant_platform::Platform;
use foliant_units::{PfnRange, PhysRange};

use crate::alloc::Blocks;
use crate::phys::Phys;
use crate::ram::Found;
use crate::record::Records;
use crate::sections::Part;

/// The tables that have a piece for each section.
pub(crate) struct GivePart<'a, P> {
    pub(crate) platform: &'a P,
    pub(crate) records: &'a Records,
    pub(crate) blocks: &'a Blocks,
}

impl<P: Platform> GivePart<'_, P> {
    /// Gives a section one of its parts, blank.
    ///
    /// # Safety
    /// As [`Sectioned::give`](crate::sectioned::Sectioned::give).
    pub(crate) unsafe fn give(&self, section: usize, part: Part, range: PhysRange, found: Found) {
        let lines = match part {
            Part::Records => {
                // SAFETY: our conditions are those of the callee.
                unsafe { self.records.pieces().give(self.platform, section, range, found) };
                return;
            }
            Part::Lines => &self.blocks.lines,
            Part::Used => &self.blocks.used,
        };
        // SAFETY: as above.
        unsafe { lines.give(self.platform, section, range, found) };
    }
}

impl<P: Platform> Phys<P> {
    /// Gives a new section a part.
    ///
    /// # Safety
    /// 1. The frames are RAM of the platform, as many as a whole piece takes.
    /// 2. They are nobody else's until the section is forgotten.
    /// 3. With [`Found::Zeroes`], their bytes are zero.
    pub(crate) unsafe fn give_part(&self, section: usize, part: Part, home: PfnRange, found: Found) {
        let give = GivePart {
            platform: &self.platform,
            records: &self.records,
            blocks: &self.blocks,
        };
        let range = PhysRange::new(home.start.base(), home.end.base());
        // SAFETY: conditions 1, 2 and 3 are ours; `self` keeps the platform and
        // drops it last.
        unsafe { give.give(section, part, range, found) };
    }
}
