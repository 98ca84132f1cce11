//! Carving the allocator's own tables out of RAM.

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PfnRange, PhysAddr, PhysRange};

use super::memblock::{BootRequest, Memblock};
use super::options::BootError;
use crate::ram::{Blank, Found, Table};
use crate::sectioned::{Pairs, Sectioned};

/// Hands out pieces of one range of RAM that was reserved for tables.
pub(super) struct Carver<'a, P: Platform> {
    platform: &'a P,
    range: PhysRange,
    next: PhysAddr,
    found: Found,
}

/// Bytes that a table takes, in whole frames.
pub(super) const fn room<T: Blank>(len: usize) -> u64 {
    Table::<T>::bytes(len).next_multiple_of(PAGE_SIZE as u64)
}

impl<'a, P: Platform> Carver<'a, P> {
    /// Reserves `bytes` for tables, below `limit` if that is possible. The
    /// tables must not outlive the platform, of which their owner keeps a clone.
    pub(super) fn reserve(
        platform: &'a P,
        memblock: &mut Memblock<P>,
        bytes: u64,
        limit: PhysAddr,
        found: Found,
    ) -> Result<Self, BootError> {
        let anywhere = BootRequest::new(bytes, PAGE_SIZE as u64);
        let below = BootRequest {
            within: PhysRange::new(PhysAddr::ZERO, limit),
            ..anywhere
        };
        let range = memblock.alloc(below).or_else(|_| memblock.alloc(anywhere))?;
        Ok(Self {
            platform,
            range,
            next: range.start,
            found,
        })
    }

    /// The frames of all tables.
    pub(super) fn frames(&self) -> PfnRange {
        PfnRange::new(self.range.start.frame(), self.range.end.frame())
    }

    /// Two tables side by side, for those who use them: the elements of one that
    /// are quick to find, each with the element of the other that serves
    /// `1 << SHIFT`.
    pub(super) fn pairs<T: Blank, U: Blank, const EACH: u32, const SHIFT: u32>(
        &self,
        each: &Sectioned<T, EACH>,
        shared: &Table<U>,
    ) -> Pairs<T, U, SHIFT> {
        // SAFETY: `Phys`, the only owner of tables and pairs, keeps the platform
        // and drops it last.
        unsafe { Pairs::new(each, shared) }
    }

    /// The next table.
    pub(super) fn table<T: Blank>(&mut self, len: usize) -> Table<T> {
        let range = PhysRange::new(self.next, self.next + room::<T>(len));
        assert!(range.end <= self.range.end, "the tables were measured before");
        self.next = range.end;
        // SAFETY:
        // 1. The range lies inside the carver's (asserted), starts where the
        //    last ended, rounded to frames, and is as long as `room` says;
        //    memblock knows only the RAM that the machine handed over.
        // 2. Memblock gave the carver's range to nobody else, and every piece
        //    of it is handed out once.
        // 3. `Phys`, the only owner of tables, keeps the platform and drops it last.
        // 4. `Found::Zeroes` is the machine's word that nobody wrote to its RAM.
        unsafe { Table::new(self.platform, range, len, self.found) }
    }
}
