//! What is worked out for a zone from the sizes of all zones.

use foliant_platform::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::kind::{ZONE_KINDS, ZoneKind};
use super::watermark::{Mark, Watermarks};
use crate::alloc::{RING_CLASSES, RingSize};

/// What is worked out for a zone, as plain values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) marks: Watermarks,
    /// By how much the levels may be raised.
    pub(crate) boost_limit: u64,
    pub(crate) reserve: [u64; ZONE_KINDS],
    /// How much a CPU may leave unfolded.
    pub(crate) fold_at: i64,
    /// How large its rings are, by class.
    pub(crate) rings: [RingSize; RING_CLASSES],
}

/// The same, replaced while others read it: each number by itself, since none
/// of them promises anything about another.
#[derive(Debug)]
pub(crate) struct Levels {
    /// Up to none, the minimum, low, high and promotion.
    marks: [AtomicU64; 5],
    boost_limit: AtomicU64,
    reserve: [AtomicU64; ZONE_KINDS],
    fold_at: AtomicI64,
    /// Batch and limit of each class.
    rings: [AtomicU32; RING_CLASSES],
}

impl Levels {
    pub(super) fn new() -> Self {
        let levels = Self {
            marks: core::array::from_fn(|_| AtomicU64::new(0)),
            boost_limit: AtomicU64::new(0),
            reserve: core::array::from_fn(|_| AtomicU64::new(0)),
            fold_at: AtomicI64::new(1),
            rings: core::array::from_fn(|_| AtomicU32::new(0)),
        };
        levels.set_rings(RingSize::for_batch(1, 1));
        levels
    }

    pub(super) fn settle(&self, shape: Shape) {
        let Watermarks {
            min,
            low,
            high,
            promo,
        } = shape.marks;
        for (slot, value) in self.marks.iter().zip([0, min, low, high, promo]) {
            slot.store(value, Ordering::Relaxed);
        }
        self.boost_limit.store(shape.boost_limit, Ordering::Relaxed);
        for (slot, value) in self.reserve.iter().zip(shape.reserve) {
            slot.store(value, Ordering::Relaxed);
        }
        self.fold_at.store(shape.fold_at, Ordering::Relaxed);
        self.set_rings(shape.rings);
    }

    fn set_rings(&self, sizes: [RingSize; RING_CLASSES]) {
        for (slot, size) in self.rings.iter().zip(sizes) {
            let word = u32::from(size.batch) << 16 | u32::from(size.limit);
            slot.store(word, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn at(&self, mark: Mark) -> u64 {
        self.marks[mark as usize].load(Ordering::Relaxed)
    }

    pub(super) fn marks(&self) -> Watermarks {
        let [_, min, low, high, promo] = &self.marks;
        let [min, low, high, promo] = [min, low, high, promo].map(|mark| mark.load(Ordering::Relaxed));
        Watermarks {
            min,
            low,
            high,
            promo,
        }
    }

    pub(super) fn boost_limit(&self) -> u64 {
        self.boost_limit.load(Ordering::Relaxed)
    }

    /// Frames closed to requests that could have used `highest`.
    #[inline]
    pub(crate) fn reserve(&self, highest: ZoneKind) -> u64 {
        self.reserve[highest.index()].load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn fold_at(&self) -> i64 {
        self.fold_at.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn ring_size(&self, class: usize) -> RingSize {
        let word = self.rings[class].load(Ordering::Relaxed);
        RingSize {
            batch: (word >> 16) as u16,
            limit: word as u16,
        }
    }
}
