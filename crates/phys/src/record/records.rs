//! The records of all frames.

use foliant_units::{Pfn, PfnRange};

use super::frame_record::FrameRecord;
use crate::alloc::Tag;
use crate::ram::{Pairs, Table};
use foliant_platform::sync::atomic::{AtomicU64, Ordering};

/// Frames per section: 128 MiB.
const SECTION_SHIFT: u32 = 15;
const SECTION: u64 = 1 << SECTION_SHIFT;
/// Frames per block.
const BLOCK_SHIFT: u32 = 9;

/// The records of most frames with the tags of their blocks.
pub(crate) type NearRecords = Pairs<FrameRecord, Tag, BLOCK_SHIFT>;

/// Which part of the table of records is a section's; nothing for a section
/// without RAM.
#[derive(Debug, Default)]
pub(crate) struct SectionStart(AtomicU64);

impl SectionStart {
    /// `len` records from number `first` on.
    fn set(&self, first: u32, len: u32) {
        let word = u64::from(first) << 32 | u64::from(len);
        self.0.store(word, Ordering::Release);
    }

    /// The number of the record of the frame `within` frames into the section.
    #[inline]
    fn find(&self, within: u32) -> Option<usize> {
        // Acquire: records that were added later are seen cleared.
        let word = self.0.load(Ordering::Acquire);
        (within < word as u32).then(|| (word >> 32) as usize + within as usize)
    }
}

/// The record of every frame, found through the frame's section: a hole of
/// whole sections costs eight bytes each.
///
/// # Linux source concept
/// SPARSEMEM with vmemmap; the indirection that Linux leaves to the MMU is a
/// small table here, because hosted machines have no kernel page tables.
#[derive(Debug)]
pub(crate) struct Records {
    sections: Table<SectionStart>,
    records: Table<FrameRecord>,
    /// Frames from zero up whose record has the frame's number: all that lie
    /// below the first hole of a section's size.
    flat: usize,
}

/// How much room [`Records`] needs for some RAM.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecordPlan {
    /// Sections up to the end of RAM.
    pub(crate) sections: usize,
    /// Records of the sections that have RAM.
    pub(crate) records: usize,
}

impl RecordPlan {
    /// For these ranges of frames, ascending and apart.
    pub(crate) fn new(present: impl Iterator<Item = PfnRange>) -> Self {
        let mut plan = Self::default();
        each_section(present, |section, len| {
            plan.sections = section + 1;
            plan.records += len;
        });
        plan
    }
}

/// Calls `visit(section, records)` for each section that has RAM: as many
/// records as reach its last frame.
fn each_section(present: impl Iterator<Item = PfnRange>, mut visit: impl FnMut(usize, usize)) {
    let mut open: Option<(u64, u64)> = None;
    for range in present.filter(|range| !range.is_empty()) {
        let (first, last) = (
            range.start.raw() >> SECTION_SHIFT,
            (range.end.raw() - 1) >> SECTION_SHIFT,
        );
        for section in first..=last {
            let reach = (range.end.raw() - section * SECTION).min(SECTION);
            match &mut open {
                Some((at, len)) if *at == section => *len = reach,
                _ => {
                    if let Some((at, len)) = open.replace((section, reach)) {
                        visit(at as usize, len as usize);
                    }
                }
            }
        }
    }
    if let Some((at, len)) = open {
        visit(at as usize, len as usize);
    }
}

impl Records {
    /// Over tables of the planned sizes, for the ranges they were planned for.
    pub(crate) fn new(
        sections: Table<SectionStart>,
        records: Table<FrameRecord>,
        present: impl Iterator<Item = PfnRange>,
    ) -> Self {
        let (mut next, mut flat) = (0, 0);
        each_section(present, |section, len| {
            sections[section].set(next, len as u32);
            if section << SECTION_SHIFT == next as usize {
                flat = next as usize + len;
            }
            next += len as u32;
        });
        Self {
            sections,
            records,
            flat,
        }
    }

    /// The record of a frame; `None` outside the sections that have RAM. A
    /// hole inside such a section has a record, which stays blank.
    #[inline]
    pub(crate) fn get(&self, pfn: Pfn) -> Option<&FrameRecord> {
        match self.records.get(pfn.index()) {
            Some(record) if pfn.index() < self.flat => Some(record),
            _ => self.find(pfn),
        }
    }

    /// All records, and how many of the first have the numbers of their frames.
    pub(crate) fn flat(&self) -> (&Table<FrameRecord>, usize) {
        (&self.records, self.flat)
    }

    #[inline(never)]
    fn find(&self, pfn: Pfn) -> Option<&FrameRecord> {
        let section = self.sections.get((pfn.raw() >> SECTION_SHIFT) as usize)?;
        let within = (pfn.raw() & (SECTION - 1)) as u32;
        self.records.get(section.find(within)?)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn::new(start), Pfn::new(end))
    }

    #[test]
    fn a_hole_of_whole_sections_has_no_records() {
        let plan =
            RecordPlan::new([range(0, 0x9f), range(0x100, 0x8000), range(0x100000, 0x100010)].into_iter());
        assert_eq!(plan.sections, 0x100000 / 0x8000 + 1);
        assert_eq!(plan.records, 0x8000 + 0x10);
    }

    #[test]
    fn ranges_that_share_a_section_share_its_records() {
        let plan = RecordPlan::new([range(0, 10), range(20, 30)].into_iter());
        assert_eq!((plan.sections, plan.records), (1, 30));
    }
}
