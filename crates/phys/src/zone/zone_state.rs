//! One zone: a stretch of frames that are alike to those who ask for them.

use core::ops::Range;

use foliant_platform::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use foliant_units::{Pfn, PfnRange};

use super::kind::{ZONE_KINDS, ZoneKind};
use super::levels::{Levels, Shape};
use super::watermark::{Mark, Watermarks};
use super::zones::ZoneId;
use crate::alloc::{HINT_MAPS, RingSize, whole_maps};
use crate::boot::NodeId;
use crate::compact::Deferral;

/// One zone of one node.
///
/// # Locking
/// None: everything that changes is atomic. The shape changes when memory comes
/// and goes, one at a time; who reads it meanwhile may see a part of a change.
///
/// # Linux source concept
/// `struct zone`. Differs: free frames are not in lists here but in the lines
/// of their blocks.
#[derive(Debug)]
pub struct Zone {
    id: ZoneId,
    kind: ZoneKind,
    node: NodeId,
    start: AtomicU64,
    end: AtomicU64,
    present: AtomicU64,
    managed: AtomicU64,
    pub(crate) levels: Levels,
    /// By how much the levels are raised for now.
    boost: AtomicU64,
    /// Free frames in the lines, but for what CPUs have not folded in yet.
    pub(crate) free: AtomicI64,
    /// Of these, how many are in blocks of contiguous areas.
    pub(crate) free_cma: AtomicI64,
    /// Frames of contiguous areas.
    pub(crate) cma: AtomicU64,
    /// Frames of blocks set aside for atomic requests.
    pub(crate) high_atomic: AtomicU64,
    /// Whether compacting it is worth the trouble.
    pub(crate) deferral: Deferral,
    /// Hints set in each of the maps of this zone's blocks.
    pub(crate) hinted: [AtomicI32; HINT_MAPS],
    /// How many of its blocks are in the map of whole ones, roughly.
    pub(crate) whole: AtomicI32,
}

impl Zone {
    pub(crate) fn new(id: ZoneId, kind: ZoneKind, node: NodeId) -> Self {
        Self {
            id,
            kind,
            node,
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            present: AtomicU64::new(0),
            managed: AtomicU64::new(0),
            levels: Levels::new(),
            boost: AtomicU64::new(0),
            free: AtomicI64::new(0),
            free_cma: AtomicI64::new(0),
            cma: AtomicU64::new(0),
            high_atomic: AtomicU64::new(0),
            deferral: Deferral::default(),
            hinted: core::array::from_fn(|_| AtomicI32::new(0)),
            whole: AtomicI32::new(0),
        }
    }

    /// Its number.
    #[inline]
    pub(crate) fn id(&self) -> ZoneId {
        self.id
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
        let number = |of: &AtomicU64| Pfn::new(of.load(Ordering::Relaxed));
        PfnRange::new(number(&self.start), number(&self.end))
    }

    /// Frames from the first to the last, with holes.
    pub fn spanned(&self) -> u64 {
        self.span().len()
    }

    /// Frames that are RAM in use, or could be.
    pub fn present(&self) -> u64 {
        self.present.load(Ordering::Relaxed)
    }

    /// Frames that the allocator has to give.
    pub fn managed(&self) -> u64 {
        self.managed.load(Ordering::Relaxed)
    }

    /// Frames of contiguous areas (`cma` in `/proc/zoneinfo`).
    pub fn cma(&self) -> u64 {
        self.cma.load(Ordering::Relaxed)
    }

    /// Frames of blocks that are set aside for atomic requests
    /// (`nr_reserved_highatomic`).
    pub fn reserved_high_atomic(&self) -> u64 {
        self.high_atomic.load(Ordering::Relaxed)
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
        self.levels.marks()
    }

    /// One of the levels.
    #[inline]
    pub(crate) fn level(&self, mark: Mark) -> u64 {
        self.levels.at(mark)
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
        let limit = self.levels.boost_limit();
        let worth_it = limit > 0 && self.managed() >= 4 * BLOCK;
        if worth_it {
            let limit = limit.max(BLOCK);
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
        ZoneKind::ALL.map(|kind| self.levels.reserve(kind))
    }

    /// Frames that a CPU takes or gives back at once.
    #[inline]
    pub fn batch(&self) -> u32 {
        self.ring_size(0).batch.into()
    }

    /// How large a CPU's rings are, by class.
    #[inline]
    pub(crate) fn ring_size(&self, class: usize) -> RingSize {
        self.levels.ring_size(class)
    }

    /// How much a CPU may leave unfolded.
    #[inline]
    pub(crate) fn fold_at(&self) -> i64 {
        self.levels.fold_at()
    }

    /// How many frames a CPU may have taken or given back without telling the
    /// zone's count (`vm stats threshold`).
    pub fn fold_threshold(&self) -> u64 {
        self.fold_at() as u64
    }

    /// The blocks that are this zone's.
    pub(crate) fn blocks(&self) -> Range<usize> {
        let span = self.span();
        let first = span.start.raw() >> 9;
        first as usize..span.end.raw().div_ceil(512) as usize
    }

    /// Whole blocks that are free, as maps have it: exact while nobody
    /// allocates or frees, but for blocks that CPUs are about to take from.
    pub(crate) fn hinted_whole(&self) -> u64 {
        let maps = whole_maps().into_iter().flatten();
        let count = |map: usize| self.hinted[map].load(Ordering::Relaxed).max(0) as u64;
        let closed: u64 = maps.map(count).sum();
        closed + self.whole.load(Ordering::Relaxed).max(0) as u64
    }

    /// Adds RAM that is there.
    pub(crate) fn grow(&self, frames: PfnRange) {
        self.stretch(frames);
        self.present.fetch_add(frames.len(), Ordering::Relaxed);
    }

    /// Makes the span reach over `frames`. A reader in between sees the old
    /// span, the new one, or one that reaches too far.
    pub(crate) fn stretch(&self, frames: PfnRange) {
        let span = self.span();
        if span.is_empty() {
            self.start
                .store(frames.start.min(span.start).raw(), Ordering::Relaxed);
            self.end.store(frames.end.raw(), Ordering::Relaxed);
            self.start.store(frames.start.raw(), Ordering::Relaxed);
            return;
        }
        self.start.fetch_min(frames.start.raw(), Ordering::Relaxed);
        self.end.fetch_max(frames.end.raw(), Ordering::Relaxed);
    }

    /// Takes RAM out whose frames are nobody's any more.
    pub(crate) fn lose(&self, frames: u64) {
        self.present.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Makes the span end where its blocks do: `ours` knows them.
    pub(crate) fn shrink(&self, ours: impl Fn(usize) -> bool) {
        let span = self.span();
        let mut blocks = self.blocks();
        match blocks.find(|&block| ours(block)) {
            Some(first) => {
                let last = blocks.rev().find(|&block| ours(block)).unwrap_or(first);
                let (start, end) = (first as u64 * 512, (last as u64 + 1) * 512);
                self.start.store(start.max(span.start.raw()), Ordering::Relaxed);
                self.end.store(end.min(span.end.raw()), Ordering::Relaxed);
            }
            None => self.start.store(span.end.raw(), Ordering::Relaxed),
        }
    }

    /// Adds frames to those that the allocator has to give, and frees them.
    pub(crate) fn manage(&self, frames: u64) {
        self.managed.fetch_add(frames, Ordering::Relaxed);
        self.free.fetch_add(frames as i64, Ordering::Relaxed);
    }

    /// Adds frames to those that the allocator has to give, which are yet to be freed.
    pub(crate) fn manage_used(&self, frames: u64) {
        self.managed.fetch_add(frames, Ordering::Relaxed);
    }

    /// The allocator has so many frames less, which it had given.
    pub(crate) fn unmanage(&self, frames: u64) {
        self.managed.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Takes over what was worked out from the sizes of all zones.
    pub(crate) fn settle(&self, shape: Shape) {
        self.levels.settle(shape);
    }
}
