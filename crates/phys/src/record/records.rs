//! The records of all frames.

use foliant_units::Pfn;

use super::frame_record::FrameRecord;
use crate::alloc::Tag;
use crate::ram::Table;
use crate::sectioned::{Pairs, Piece, Sectioned, View};
use crate::sections::SECTION_SHIFT;

/// Frames per block.
const BLOCK_SHIFT: u32 = 9;

/// The records of most frames with the tags of their blocks.
pub(crate) type NearRecords = Pairs<FrameRecord, Tag, BLOCK_SHIFT>;

/// The record of every frame that has one: each section with RAM, or with a
/// device's memory, has a piece, which reaches up to its last such frame.
///
/// # Linux source concept
/// SPARSEMEM with vmemmap. Differs: one addition leads to a record in the
/// longest run of sections, elsewhere the word of the section is read first;
/// Linux leaves that to the MMU, and checks the section's word all the same
/// where it cannot trust the number (`pfn_valid()`).
#[derive(Debug)]
pub(crate) struct Records(Sectioned<FrameRecord, SECTION_SHIFT>);

impl Records {
    /// Without any.
    pub(crate) fn new(pieces: Table<Piece<FrameRecord>>) -> Self {
        Self(Sectioned::new(pieces))
    }

    /// The pieces.
    pub(crate) fn pieces(&self) -> &Sectioned<FrameRecord, SECTION_SHIFT> {
        &self.0
    }

    /// Makes the longest run of sections quick to find, at boot.
    pub(crate) fn open_window(&mut self) {
        self.0.open_window();
    }

    /// The record of a frame; `None` where no section's piece reaches. A hole
    /// inside a piece has a record, which stays blank.
    #[inline]
    pub(crate) fn get(&self, pfn: Pfn) -> Option<&FrameRecord> {
        self.0.get(pfn.index())
    }

    /// Those of the longest run, as it is now.
    #[inline]
    pub(crate) fn view(&self) -> RecordView<'_> {
        RecordView(self.0.view())
    }
}

/// Most frames' records, for loops that look at many: the longest run of
/// sections that have some, as it was when the loop began.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a>(View<'a, FrameRecord>);

impl<'a> RecordView<'a> {
    /// The first frame of the run.
    #[inline]
    pub fn first(self) -> Pfn {
        Pfn::new(self.0.start() as u64)
    }

    /// The record of the frame that is `within` frames behind the first, as
    /// [`Phys::peek_record`](crate::Phys::peek_record) finds it; `None` outside
    /// of the run.
    #[inline]
    pub fn nth(self, within: usize) -> Option<&'a FrameRecord> {
        self.0.nth(within)
    }
}
