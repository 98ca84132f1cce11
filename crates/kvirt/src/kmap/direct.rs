//! What needs no window.

use foliant_units::{Pfn, VirtAddr};

/// The frames that the direct map shows: from frame zero to some limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectMap {
    /// Where frame zero is (`PAGE_OFFSET`).
    pub start: VirtAddr,
    /// The first frame that it does not show (`max_low_pfn`).
    pub end: Pfn,
}

impl DirectMap {
    /// The address of `frame`, if it is shown.
    ///
    /// # Linux source concept
    /// `page_address()` of a frame below `max_low_pfn`.
    pub fn address(&self, frame: Pfn) -> Option<VirtAddr> {
        (frame < self.end).then(|| self.start + frame.base().raw())
    }

    /// The frame that is shown at `at`.
    pub fn frame(&self, at: VirtAddr) -> Option<Pfn> {
        let frame = Pfn::new(at.raw().checked_sub(self.start.raw())? / foliant_units::PAGE_SIZE as u64);
        (frame < self.end).then_some(frame)
    }
}
