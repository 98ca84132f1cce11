//! A free folio on its way between lines, rings and callers.

use foliant_units::Pfn;

/// Set if the frames have not been used since the machine's RAM was zeroed, or
/// were given back zeroed.
const FRESH: u32 = 1 << 31;

/// Frame numbers fit in 31 bits (8 TiB), which leaves one for freshness.
pub(crate) const PFN_LIMIT: u64 = FRESH as u64;

/// The first frame of a free folio, and whether it is known to be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Entry(u32);

impl Entry {
    #[inline]
    pub(crate) const fn new(pfn: Pfn, fresh: bool) -> Self {
        Self(pfn.raw() as u32 | if fresh { FRESH } else { 0 })
    }

    #[inline]
    pub(crate) const fn pfn(self) -> Pfn {
        Pfn::new((self.0 & !FRESH) as u64)
    }

    #[inline]
    pub(crate) const fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    #[inline]
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    #[inline]
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// How many folios travel at once.
pub(crate) const BATCH: usize = 64;

/// Folios of one order on their way.
#[derive(Debug)]
pub(crate) struct Batch {
    entries: [Entry; BATCH],
    len: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self {
            entries: [Entry(0); BATCH],
            len: 0,
        }
    }

    /// So many entries, at most as many as fit, to be written through
    /// [`split_at_mut`](Self::split_at_mut).
    pub(crate) fn with_len(len: usize) -> Self {
        Self {
            len: len.min(BATCH),
            ..Self::new()
        }
    }

    /// The first entries, up to `middle`, and the others.
    pub(crate) fn split_at_mut(&mut self, middle: usize) -> (&mut [Entry], &mut [Entry]) {
        let middle = middle.min(self.len);
        self.entries[..self.len].split_at_mut(middle)
    }

    /// Adds the frames `first + n` for each bit `n` of `bits`, which are fresh
    /// where the bit is clear in `used`.
    pub(crate) fn push_frames(&mut self, first: Pfn, bits: u64, used: u64) {
        let Some(room) = self.entries.get_mut(self.len..) else {
            return;
        };
        let mut left = bits;
        // A whole word at once is the most frequent case.
        if bits == u64::MAX && (used == 0 || used == u64::MAX) {
            for (at, slot) in room.iter_mut().enumerate() {
                *slot = Entry::new(first + at as u64, used == 0);
            }
            left = 0;
        }
        for slot in room.iter_mut() {
            if left == 0 {
                break;
            }
            let at = left.trailing_zeros();
            *slot = Entry::new(first + u64::from(at), used >> at & 1 == 0);
            left &= left - 1;
        }
        self.len = (self.len + bits.count_ones() as usize).min(BATCH);
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert!(self.len < BATCH, "a batch holds {BATCH} folios");
        if let Some(slot) = self.entries.get_mut(self.len) {
            *slot = entry;
            self.len += 1;
        }
    }

    pub(crate) fn as_slice(&self) -> &[Entry] {
        &self.entries[..self.len]
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
