//! One zone: a stretch of frames that are alike to those who ask for them.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use foliant_units::{Pfn, PfnRange};

use super::kind::{ZONE_KINDS, ZoneKind};
use super::watermark::Watermarks;
use crate::alloc::{HINT_MAPS, RING_CLASSES, RingSize};
use crate::boot::NodeId;

/// One zone of one node.
///
/// # Locking
/// None: the shape is fixed at boot, the counters are atomic.
///
/// # Linux source concept
/// `struct zone`. Differs: free frames are not in lists here but in the lines
/// of their blocks.
#[derive(Debug)]
pub struct Zone {
    kind: ZoneKind,
    node: NodeId,
    span: PfnRange,
    present: u64,
    pub(crate) managed: AtomicU64,
    pub(crate) marks: Watermarks,
    /// By how much the levels are raised for now.
    pub(crate) boost: AtomicU64,
    /// By how much they may be.
    pub(crate) boost_limit: u64,
    pub(crate) reserve: [u64; ZONE_KINDS],
    /// Free frames in the lines, but for what CPUs have not folded in yet.
    pub(crate) free: AtomicI64,
    /// Of these, how many are in blocks of contiguous areas.
    pub(crate) free_cma: AtomicI64,
    /// Frames of contiguous areas.
    pub(crate) cma: AtomicU64,
    /// How much a CPU may leave unfolded.
    pub(crate) fold_at: i64,
    /// How large its rings are, by class.
    pub(crate) rings: [RingSize; RING_CLASSES],
    /// Hints set in each of the maps of this zone's blocks.
    pub(crate) hinted: [AtomicI32; HINT_MAPS],
}

impl Zone {
    pub(crate) fn new(kind: ZoneKind, node: NodeId) -> Self {
        Self {
            kind,
            node,
            span: PfnRange::new(Pfn::ZERO, Pfn::ZERO),
            present: 0,
            managed: AtomicU64::new(0),
            marks: Watermarks::default(),
            boost: AtomicU64::new(0),
            boost_limit: 0,
            reserve: [0; ZONE_KINDS],
            free: AtomicI64::new(0),
            free_cma: AtomicI64::new(0),
            cma: AtomicU64::new(0),
            fold_at: 1,
            rings: RingSize::for_batch(1),
            hinted: core::array::from_fn(|_| AtomicI32::new(0)),
        }
    }

    /// What kind of zone.
    #[inline]
    pub fn kind(&self) -> ZoneKind {
        self.kind
    }

    /// Of which node.
    #[inline]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// From the first to the last frame, with holes.
    pub fn span(&self) -> PfnRange {
        self.span
    }

    /// Frames from the first to the last, with holes.
    pub fn spanned(&self) -> u64 {
        self.span.len()
    }

    /// Frames that are RAM.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Frames that the allocator has to give.
    pub fn managed(&self) -> u64 {
        self.managed.load(Ordering::Relaxed)
    }

    /// Frames of contiguous areas (`cma` in `/proc/zoneinfo`).
    pub fn cma(&self) -> u64 {
        self.cma.load(Ordering::Relaxed)
    }

    /// Free frames of contiguous areas (`nr_free_cma`).
    pub fn free_cma(&self) -> u64 {
        self.free_cma.load(Ordering::Relaxed).max(0) as u64
    }

    /// Frames of contiguous areas were taken.
    pub(crate) fn lend(&self, frames: u64) {
        self.free_cma.fetch_sub(frames as i64, Ordering::Relaxed);
    }

    /// The levels.
    pub fn watermarks(&self) -> Watermarks {
        self.marks
    }

    /// By how much the levels are raised for now, in frames (`boost` in
    /// `/proc/zoneinfo`): until reclaim has freed that much, so that blocks of
    /// one mobility need not be taken for another again.
    pub fn boost(&self) -> u64 {
        self.boost.load(Ordering::Relaxed)
    }

    /// A block was taken from another mobility.
    ///
    /// # Linux source concept
    /// `boost_watermark()`.
    pub(crate) fn raise_boost(&self) {
        const BLOCK: u64 = 512;
        let worth_it = self.boost_limit > 0 && self.managed() >= 4 * BLOCK;
        if worth_it {
            let limit = self.boost_limit.max(BLOCK);
            self.boost
                .store((self.boost() + BLOCK).min(limit), Ordering::Relaxed);
        }
    }

    /// Reclaim has done its work for this zone: the levels are what they were.
    pub fn drop_boost(&self) {
        self.boost.store(0, Ordering::Relaxed);
    }

    /// Frames closed to requests that could have used each higher zone
    /// (`protection:` in `/proc/zoneinfo`).
    pub fn lowmem_reserve(&self) -> [u64; ZONE_KINDS] {
        self.reserve
    }

    /// Frames that a CPU takes or gives back at once.
    #[inline]
    pub fn batch(&self) -> u32 {
        self.rings[0].batch.into()
    }

    /// How many frames a CPU may have taken or given back without telling the
    /// zone's count (`vm stats threshold`).
    pub fn fold_threshold(&self) -> u64 {
        self.fold_at as u64
    }

    /// The blocks that are this zone's.
    pub(crate) fn blocks(&self) -> Range<usize> {
        let first = self.span.start.raw() >> 9;
        first as usize..self.span.end.raw().div_ceil(512) as usize
    }

    /// Adds RAM that is there.
    pub(crate) fn grow(&mut self, frames: PfnRange) {
        self.span = match self.present {
            0 => frames,
            _ => PfnRange::new(self.span.start.min(frames.start), self.span.end.max(frames.end)),
        };
        self.present += frames.len();
    }

    /// Adds frames to those that the allocator has to give, at boot.
    pub(crate) fn manage(&self, frames: u64) {
        self.managed.fetch_add(frames, Ordering::Relaxed);
        self.free.fetch_add(frames as i64, Ordering::Relaxed);
    }
}
