//! Carving the allocator's own tables out of RAM.

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PfnRange, PhysAddr, PhysRange};

use super::memblock::{BootRequest, Memblock};
use super::options::BootError;
use crate::ram::{Blank, Found, Table};

/// Hands out pieces of one range of RAM that was reserved for tables.
pub(super) struct Carver<'a, P: Platform> {
    platform: &'a P,
    next: PhysAddr,
    end: PhysAddr,
    found: Found,
}

/// Bytes that a table takes, in whole frames.
pub(super) const fn room<T: Blank>(len: usize) -> u64 {
    Table::<T>::bytes(len).next_multiple_of(PAGE_SIZE as u64)
}

/// Reserves `bytes` for tables, below `limit` if that is possible.
pub(super) fn reserve(memblock: &mut Memblock, bytes: u64, limit: PhysAddr) -> Result<PhysRange, BootError> {
    let anywhere = BootRequest::new(bytes, PAGE_SIZE as u64);
    let below = BootRequest {
        within: PhysRange::new(PhysAddr::ZERO, limit),
        ..anywhere
    };
    Ok(memblock.alloc(below).or_else(|_| memblock.alloc(anywhere))?)
}

impl<'a, P: Platform> Carver<'a, P> {
    /// # Safety
    /// 1. `range` is page-aligned RAM of `platform` that nobody else uses until
    ///    all tables are gone.
    /// 2. A clone of `platform` outlives the tables.
    /// 3. With [`Found::Zeroes`] it is zero.
    pub(super) unsafe fn new(platform: &'a P, range: PhysRange, found: Found) -> Self {
        Self {
            platform,
            next: range.start,
            end: range.end,
            found,
        }
    }

    /// The next table.
    pub(super) fn table<T: Blank>(&mut self, len: usize) -> Table<T> {
        let range = PhysRange::new(self.next, self.next + room::<T>(len));
        assert!(range.end <= self.end, "the tables were measured before");
        self.next = range.end;
        // SAFETY:
        // 1. The range lies inside the carver's (asserted), starts where the
        //    last ended, rounded to frames, and is as long as `room` says.
        // 2. Every piece is handed out once, and `new` was promised the whole.
        // 3. As `new` was promised.
        // 4. As `new` was promised.
        unsafe { Table::new(self.platform, range, len, self.found) }
    }
}

/// The frames of a byte range whose ends are page-aligned.
pub(super) const fn frames(range: PhysRange) -> PfnRange {
    PfnRange::new(range.start.frame(), range.end.frame())
}
