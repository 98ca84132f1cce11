//! One slab: a folio cut into objects, as the record of its first frame
//! describes it.
//!
//! | word of the record | holds |
//! |---|---|
//! | `mapping` | the cache, as a [`Tag`] (in every frame of the slab) |
//! | `count` | objects that are not free |
//! | `lock` | the shard that the slab belongs to, and the list it is in ([`Place`]) |
//! | `private`, `charge`, `index` | the bits of free objects, if there are no more than 192 |
//! | `next`, `prev` | neighbours in the list |
//!
//! All of it is changed under the lock of the slab's shard.

use core::ptr::NonNull;

use foliant_phys::{FrameFlags, FrameRecord};
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::Pfn;

use super::batch::Accepts;
use super::object::{Object, load_word, nth, store_word};
use super::shape::Shape;

/// Where frames and their records are: the machine, or a model.
pub(crate) trait Frames {
    /// What is known about a frame of a slab.
    fn record(&self, pfn: Pfn) -> &FrameRecord;

    /// The same for any number, if it has one.
    fn peek(&self, pfn: Pfn) -> Option<&FrameRecord>;

    /// Where the bytes of a frame are.
    fn start(&self, pfn: Pfn) -> NonNull<u8>;
}

/// Which cache a slab is of, as its records say it. Never zero, which is what
/// a frame has that belongs to nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tag(u64);

impl Tag {
    /// The tag of the cache with a number.
    pub(crate) const fn new(cache: usize) -> Self {
        Self(cache as u64 + 1)
    }

    /// The tag as it stands in a record.
    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    /// The number of the cache.
    #[inline]
    pub(crate) const fn cache(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }

    /// The tag in the record of a slab's frame, if it is one.
    #[inline]
    pub(crate) fn of(record: &FrameRecord) -> Option<Self> {
        let is_slab = record.has(FrameFlags::SLAB);
        is_slab.then(|| Self(record.mapping.load(Ordering::Relaxed)))
    }
}

/// The list that a slab is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Kind {
    /// None: on its way to a shard.
    Transit = 0,
    /// Some objects are free.
    Partial = 1,
    /// No object is free.
    Full = 2,
    /// All objects are free.
    Empty = 3,
}

/// The shard that a slab belongs to, and its list there: one word, because the
/// shard is read without the lock that both change under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u32,
    pub(crate) kind: Kind,
}

impl Place {
    const SHARD: u32 = 0xffff;

    /// Where a slab is; without its shard's lock, where it was just now.
    #[inline]
    pub(crate) fn of(record: &FrameRecord) -> Self {
        // Acquire: a slab seen in a shard is seen as it was when it went there.
        let word = record.lock.load(Ordering::Acquire);
        let kind = match word >> 16 {
            1 => Kind::Partial,
            2 => Kind::Full,
            3 => Kind::Empty,
            _ => Kind::Transit,
        };
        Self {
            shard: word & Self::SHARD,
            kind,
        }
    }

    pub(crate) fn store(self, record: &FrameRecord) {
        let word = (self.kind as u32) << 16 | (self.shard & Self::SHARD);
        record.lock.store(word, Ordering::Release);
    }
}

/// What it meant for its slab that an object was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// Nothing: it was free already.
    Twice,
    /// The slab is not in its proper list any more.
    FirstOrLast,
    /// Some were free before, and some are not.
    Between,
}

/// Marks an object free in a slab of `objects`, which are not more than 64 and
/// have their bits in the record.
#[inline(always)]
pub(crate) fn put_by_record(record: &FrameRecord, index: u32, objects: u32) -> Put {
    let before = record.private.load(Ordering::Relaxed);
    let free = before | 1 << (index % 64);
    if free == before {
        return Put::Twice;
    }
    record.private.store(free, Ordering::Relaxed);
    count_down(record, objects)
}

/// One object less is in use.
#[inline(always)]
fn count_down(record: &FrameRecord, objects: u32) -> Put {
    let used = record.count.load(Ordering::Relaxed).wrapping_sub(1);
    record.count.store(used, Ordering::Relaxed);
    // One comparison for both: the last left none in use, the first all but one.
    if used.wrapping_sub(1) < objects.wrapping_sub(2) {
        Put::Between
    } else {
        Put::FirstOrLast
    }
}

/// One slab of a cache, to be looked at and changed under its shard's lock.
pub(crate) struct Page<'a, F: Frames> {
    pub(crate) pfn: Pfn,
    pub(crate) record: &'a FrameRecord,
    frames: &'a F,
    shape: &'a Shape,
}

impl<F: Frames> Clone for Page<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Frames> Copy for Page<'_, F> {}

impl<'a, F: Frames> Page<'a, F> {
    #[inline]
    pub(crate) fn new(frames: &'a F, shape: &'a Shape, pfn: Pfn, record: &'a FrameRecord) -> Self {
        Self {
            pfn,
            record,
            frames,
            shape,
        }
    }

    /// Where its bytes are.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.frames.start(self.pfn)
    }

    /// Makes the record describe a new slab whose objects are all free.
    pub(crate) fn begin(&self) {
        self.record.count.store(0, Ordering::Relaxed);
        for word in 0..self.shape.words {
            self.store(word, self.shape.all_free(word));
        }
    }

    /// Sends the slab, which is in no list, on its way to a shard.
    pub(crate) fn assign(&self, shard: u32) {
        let kind = Kind::Transit;
        Place { shard, kind }.store(self.record);
    }

    /// Makes the record that of a frame without an owner.
    pub(crate) fn end(&self) {
        let record = self.record;
        for word in [&record.private, &record.charge, &record.index] {
            word.store(0, Ordering::Relaxed);
        }
        for word in [&record.lock, &record.count, &record.next, &record.prev] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Objects that are not free.
    #[inline]
    pub(crate) fn in_use(&self) -> u32 {
        self.record.count.load(Ordering::Relaxed)
    }

    /// The list that the slab should be in.
    #[inline]
    pub(crate) fn proper_kind(&self) -> Kind {
        match self.in_use() {
            0 => Kind::Empty,
            used if used >= self.shape.objects => Kind::Full,
            _ => Kind::Partial,
        }
    }

    /// Takes up to `want` free objects.
    #[inline]
    pub(crate) fn take(&self, want: usize, into: &mut impl Accepts) {
        let mut left = want.min(into.room()) as u32;
        let start = self.start();
        let mut used = self.in_use();
        for at in 0..self.shape.words {
            let mut free = self.load(at);
            let count = free.count_ones().min(left);
            into.expect(count as usize);
            for _ in 0..count {
                let index = at as u32 * 64 + free.trailing_zeros();
                free &= free - 1;
                into.push(self.object_from(start, index));
            }
            self.store(at, free);
            used += count;
            left -= count;
            if left == 0 {
                break;
            }
        }
        self.record.count.store(used, Ordering::Relaxed);
    }

    /// Marks an object free.
    pub(crate) fn put(&self, index: u32) -> Put {
        let (at, bit) = (index as usize / 64, 1 << (index % 64));
        let free = self.load(at);
        if free & bit != 0 {
            return Put::Twice;
        }
        self.store(at, free | bit);
        count_down(self.record, self.shape.objects)
    }

    /// Whether an object is free.
    pub(crate) fn is_free(&self, index: u32) -> bool {
        self.load(index as usize / 64) & 1 << (index % 64) != 0
    }

    /// The `index`-th object.
    #[inline]
    pub(crate) fn object(&self, index: u32) -> Object {
        self.object_from(self.start(), index)
    }

    #[inline]
    #[allow(unsafe_code)]
    fn object_from(&self, start: NonNull<u8>, index: u32) -> Object {
        debug_assert!(index < self.shape.objects, "object {index} of {:?}", self.shape);
        // SAFETY: the slab has that many objects.
        unsafe { nth(start, self.shape.offset_of(index)) }
    }

    /// The word of the record that holds free bits.
    #[inline]
    fn word(&self, at: usize) -> &'a AtomicU64 {
        match at {
            0 => &self.record.private,
            1 => &self.record.charge,
            _ => &self.record.index,
        }
    }

    #[inline]
    #[allow(unsafe_code)]
    fn load(&self, at: usize) -> u64 {
        match self.shape.map {
            None => self.word(at).load(Ordering::Relaxed),
            // SAFETY:
            // 1. The shape left room for its words behind the last object.
            // 2. Pages are used under their shard's lock (see `Page`).
            Some(map) => unsafe { load_word(self.start(), map + at * 8) },
        }
    }

    #[inline]
    #[allow(unsafe_code)]
    fn store(&self, at: usize, word: u64) {
        match self.shape.map {
            None => self.word(at).store(word, Ordering::Relaxed),
            // SAFETY: as in `load`.
            Some(map) => unsafe { store_word(self.start(), map + at * 8, word) },
        }
    }
}
