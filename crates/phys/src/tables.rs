//! Which frames hold the allocator's own tables.

use foliant_platform::Platform;
use foliant_units::{Pfn, PfnRange};

use crate::alloc::{BLOCK, Blocks, block_of};
use crate::phys::Phys;
use crate::record::{FrameFlags, Records};

/// Marks frames that hold the allocator's own tables, whose bytes nobody else
/// may reach: whole blocks in their tag, others in their records.
pub(crate) struct OwnTables<'a> {
    pub(crate) records: &'a Records,
    pub(crate) blocks: &'a Blocks,
}

impl OwnTables<'_> {
    pub(crate) fn mark(&self, frames: PfnRange) {
        each_block(frames, |part| {
            let tag = &self.blocks.tags[block_of(part.start)];
            let everywhere = part.len() == BLOCK as u64;
            tag.set_tables(everywhere);
            if !everywhere {
                self.each_record(part, FrameFlags::OWN_TABLE | FrameFlags::RESERVED, true);
            }
        });
    }

    pub(crate) fn unmark(&self, frames: PfnRange) {
        each_block(frames, |part| {
            let everywhere = part.len() == BLOCK as u64;
            match everywhere {
                true => self.blocks.tags[block_of(part.start)].clear_tables(),
                false => self.each_record(part, FrameFlags::OWN_TABLE | FrameFlags::RESERVED, false),
            }
        });
    }

    fn each_record(&self, frames: PfnRange, flags: FrameFlags, on: bool) {
        for record in frames.iter().filter_map(|pfn| self.records.get(pfn)) {
            record.assign(flags, on);
        }
    }
}

impl<P: Platform> Phys<P> {
    /// Whether a frame holds tables of this crate: records and what goes with
    /// them. Those are somebody's though they may not be counted as anybody's.
    pub fn is_table(&self, pfn: Pfn) -> bool {
        let tag = self.blocks.tags.get(block_of(pfn));
        tag.is_some_and(|tag| tag.is_tables())
            || self
                .records
                .get(pfn)
                .is_some_and(|record| record.has(FrameFlags::OWN_TABLE))
    }

    pub(crate) fn own_tables(&self) -> OwnTables<'_> {
        OwnTables {
            records: &self.records,
            blocks: &self.blocks,
        }
    }
}

/// Cuts frames at the borders of blocks.
pub(crate) fn each_block(frames: PfnRange, mut visit: impl FnMut(PfnRange)) {
    let mut at = frames.start;
    while at < frames.end {
        let end = (at + 1).align_up(BLOCK as u64).min(frames.end);
        visit(PfnRange::new(at, end));
        at = end;
    }
}
