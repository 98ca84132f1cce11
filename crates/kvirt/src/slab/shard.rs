//! The slabs that one group of CPUs allocates from.
//!
//! A slab belongs to one shard at a time. Objects are freed to whichever shard
//! their slab belongs to, by any CPU: the shard is read without a lock, locked,
//! and read again. A slab changes its shard under the lock of the old one, in
//! no list; it comes into a list under the lock of the new one. No two shards
//! are ever locked together.

use foliant_phys::FrameRecord;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::{SpinGuard, SpinLock};
use foliant_units::Pfn;

use super::batch::{Accepts, Holds};
use super::find::{Finder, Located};
use super::mutant::{Mutant, is_on};
use super::page::{Frames, Kind, Page, Place, Put, put_by_record};
use super::shape::Shape;

/// Shards of a cache: CPUs share them by their numbers.
pub(crate) const MOST_SHARDS: usize = 8;

/// Empty slabs that a shard keeps.
///
/// # Linux source concept
/// `MIN_PARTIAL`.
const KEPT_EMPTY: u32 = 5;

/// Empty slabs that make a shard give all but those back, some at a time.
const MANY_EMPTY: u32 = 4 * KEPT_EMPTY;

/// Slabs with free objects that a shard has to have before others may help
/// themselves without need.
const SURPLUS: u32 = 8;

/// A list of slabs, linked through their records. Frame zero is never a slab.
#[derive(Debug, Default)]
struct List {
    first: u32,
    len: u32,
}

/// Slabs on their way out, linked through `next`.
#[derive(Debug, Default)]
#[must_use = "the frames are lost if they are not released"]
pub(crate) struct Chain {
    first: u32,
    len: u32,
}

/// The slabs of a shard.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    partial: List,
    full: List,
    empty: List,
}

/// Some of a cache's slabs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Shard {
    lists: SpinLock<Lists>,
    /// Slabs with free objects, for those who only want to know whether to lock.
    usable: AtomicU32,
}

/// How many slabs and objects there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) slabs: u64,
    pub(crate) empty: u64,
    /// Objects that are not free in their slabs.
    pub(crate) in_use: u64,
}

/// What the lists need to know.
pub(crate) struct Ground<'a, F: Frames> {
    pub(crate) frames: &'a F,
    pub(crate) shape: &'a Shape,
}

impl<F: Frames> Clone for Ground<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Frames> Copy for Ground<'_, F> {}

impl<'a, F: Frames> Ground<'a, F> {
    #[inline]
    pub(crate) fn page(self, pfn: Pfn) -> Page<'a, F> {
        Page::new(self.frames, self.shape, pfn, self.frames.record(pfn))
    }

    #[inline]
    fn linked(self, raw: u32) -> Page<'a, F> {
        self.page(Pfn::new(u64::from(raw)))
    }
}

impl Chain {
    /// Adds a slab that is in no list.
    pub(crate) fn push<F: Frames>(&mut self, page: Page<'_, F>) {
        page.record.next.store(self.first, Ordering::Relaxed);
        self.first = page.pfn.raw() as u32;
        self.len += 1;
    }

    /// Takes a slab out.
    pub(crate) fn pop<'a, F: Frames>(&mut self, ground: Ground<'a, F>) -> Option<Page<'a, F>> {
        if self.first == 0 {
            return None;
        }
        let page = ground.linked(self.first);
        self.first = page.record.next.load(Ordering::Relaxed);
        self.len -= 1;
        Some(page)
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }
}

impl List {
    fn push<F: Frames>(&mut self, page: Page<'_, F>, ground: Ground<'_, F>) {
        page.record.next.store(self.first, Ordering::Relaxed);
        page.record.prev.store(0, Ordering::Relaxed);
        let raw = page.pfn.raw() as u32;
        if self.first != 0 {
            ground
                .frames
                .record(Pfn::new(self.first.into()))
                .prev
                .store(raw, Ordering::Relaxed);
        }
        self.first = raw;
        self.len += 1;
    }

    fn remove<F: Frames>(&mut self, page: Page<'_, F>, ground: Ground<'_, F>) {
        let next = page.record.next.load(Ordering::Relaxed);
        let prev = page.record.prev.load(Ordering::Relaxed);
        let record = |raw: u32| ground.frames.record(Pfn::new(raw.into()));
        if prev == 0 {
            self.first = next;
        } else {
            record(prev).next.store(next, Ordering::Relaxed);
        }
        if next != 0 {
            record(next).prev.store(prev, Ordering::Relaxed);
        }
        self.len -= 1;
    }
}

impl Lists {
    fn list(&mut self, kind: Kind) -> Option<&mut List> {
        match kind {
            Kind::Transit => None,
            Kind::Partial => Some(&mut self.partial),
            Kind::Full => Some(&mut self.full),
            Kind::Empty => Some(&mut self.empty),
        }
    }

    fn usable(&self) -> u32 {
        self.partial.len + self.empty.len
    }

    /// Moves a slab to the list that it should be in now.
    fn relist<F: Frames>(&mut self, page: Page<'_, F>, to: Kind, ground: Ground<'_, F>) {
        let place = Place::of(page.record);
        if place.kind == to {
            return;
        }
        if let Some(list) = self.list(place.kind) {
            list.remove(page, ground);
        }
        if let Some(list) = self.list(to) {
            list.push(page, ground);
        }
        Place { kind: to, ..place }.store(page.record);
    }

    /// Takes up to `want` objects out of slabs, fuller ones first.
    pub(crate) fn take<F: Frames>(&mut self, ground: Ground<'_, F>, want: usize, into: &mut impl Accepts) {
        let left = into.room() - want.min(into.room());
        while into.room() > left {
            let first = match (self.partial.first, self.empty.first) {
                (0, 0) => return,
                (0, empty) => empty,
                (partial, _) => partial,
            };
            let page = ground.linked(first);
            page.take(into.room() - left, into);
            self.relist(page, page.proper_kind(), ground);
        }
    }

    /// Puts an object back; false if it was free already. The caller has seen,
    /// under this lock, that the slab is of this shard.
    fn put<F: Frames>(&mut self, ground: Ground<'_, F>, pfn: Pfn, index: u32) -> bool {
        let page = ground.page(pfn);
        match page.put(index) {
            Put::Twice => return false,
            Put::Between => {}
            Put::FirstOrLast => self.settle(ground, pfn),
        }
        true
    }

    /// Moves a slab to its list when its first or last object became free. One
    /// that is on its way here comes into its list early: its bringer then finds
    /// it there.
    #[inline(never)]
    fn settle<F: Frames>(&mut self, ground: Ground<'_, F>, pfn: Pfn) {
        let page = ground.page(pfn);
        self.relist(page, page.proper_kind(), ground);
    }

    /// Takes empty slabs above `keep` out of the shard.
    pub(crate) fn take_empty<F: Frames>(&mut self, ground: Ground<'_, F>, keep: u32, out: &mut Chain) {
        while self.empty.len > keep {
            let page = ground.linked(self.empty.first);
            if !is_on(Mutant::ReleaseListed) {
                self.relist(page, Kind::Transit, ground);
                out.push(page);
                continue;
            }
            out.push(page);
            return;
        }
    }

    /// Takes any slab with free objects out of the shard, for another one.
    fn give_away<'a, F: Frames>(&mut self, ground: Ground<'a, F>, to: u32) -> Option<Page<'a, F>> {
        let first = match (self.empty.first, self.partial.first) {
            (0, 0) => return None,
            (0, partial) => partial,
            (empty, _) => empty,
        };
        let page = ground.linked(first);
        self.relist(page, Kind::Transit, ground);
        page.assign(to);
        Some(page)
    }
}

/// A shard that is locked.
pub(crate) struct Locked<'a> {
    shard: &'a Shard,
    lists: SpinGuard<'a, Lists>,
}

impl Shard {
    /// Locks the shard. Interrupts are masked by the caller.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            shard: self,
            lists: self.lists.lock(),
        }
    }

    /// Whether there was a slab with free objects just now.
    #[inline]
    pub(crate) fn has_some(&self) -> bool {
        self.usable.load(Ordering::Relaxed) > 0
    }

    /// Whether there were more than the shard's own CPUs will need soon.
    pub(crate) fn has_plenty(&self) -> bool {
        self.usable.load(Ordering::Relaxed) > SURPLUS
    }

    /// Takes in a slab that was made or stolen for this shard, number `own`.
    pub(crate) fn adopt<F: Frames>(&self, ground: Ground<'_, F>, page: Page<'_, F>) {
        let mut locked = self.lock();
        locked.lists.relist(page, page.proper_kind(), ground);
    }

    /// Takes a slab with free objects from this shard for shard `to`; the
    /// caller has `to` [adopt](Self::adopt) it.
    pub(crate) fn steal<'a, F: Frames>(&self, ground: Ground<'a, F>, to: u32) -> Option<Page<'a, F>> {
        if is_on(Mutant::StealUnlocked) {
            let page = self.lock().lists.partial.first;
            let page = (page != 0).then(|| ground.linked(page))?;
            page.assign(to);
            self.lock().lists.partial.remove(page, ground);
            return Some(page);
        }
        self.lock().lists.give_away(ground, to)
    }

    /// Takes out the empty slabs that are more than a shard keeps.
    pub(crate) fn trim<F: Frames>(&self, ground: Ground<'_, F>, keep_some: bool) -> Chain {
        let mut chain = Chain::default();
        let keep = if keep_some { KEPT_EMPTY } else { 0 };
        self.lock().lists.take_empty(ground, keep, &mut chain);
        chain
    }

    /// Counts slabs and objects.
    pub(crate) fn tally<F: Frames>(&self, ground: Ground<'_, F>) -> Tally {
        let mut tally = Tally::default();
        self.each(ground, |page, kind| {
            tally.slabs += 1;
            tally.empty += u64::from(kind == Kind::Empty);
            tally.in_use += u64::from(page.in_use());
        });
        tally
    }

    /// Calls `visit` for each slab with the list it is in, under the lock.
    pub(crate) fn each<'a, F: Frames>(
        &self,
        ground: Ground<'a, F>,
        mut visit: impl FnMut(Page<'a, F>, Kind),
    ) {
        let locked = self.lock();
        let lists = [
            (&locked.lists.partial, Kind::Partial),
            (&locked.lists.full, Kind::Full),
            (&locked.lists.empty, Kind::Empty),
        ];
        for (list, kind) in lists {
            let mut next = list.first;
            while next != 0 {
                let page = ground.linked(next);
                next = page.record.next.load(Ordering::Relaxed);
                visit(page, kind);
            }
        }
    }
}

impl Locked<'_> {
    /// Whether a slab belongs here: to be asked under the lock.
    #[inline]
    pub(crate) fn owns(&self, record: &FrameRecord, own: u32) -> bool {
        Place::of(record).shard == own || is_on(Mutant::ShardOnce)
    }

    /// See [`Lists::take`].
    pub(crate) fn take<F: Frames>(&mut self, ground: Ground<'_, F>, want: usize, into: &mut impl Accepts) {
        self.lists.take(ground, want, into);
    }

    /// See [`Lists::put`].
    pub(crate) fn put<F: Frames>(&mut self, ground: Ground<'_, F>, place: Located<'_>) -> bool {
        self.lists.put(ground, place.pfn, place.index)
    }

    /// Puts those objects back that are of this shard, number `own`, and were
    /// not free. Returns a bit for each of the others. `SMALL`: their slabs have
    /// one word of free bits, in the record.
    #[inline(always)]
    pub(crate) fn put_all<F: Frames, H: Holds, const SMALL: bool>(
        &mut self,
        ground: Ground<'_, F>,
        finder: Finder<'_>,
        own: u32,
        held: &[H],
    ) -> u32 {
        let (mut others, count) = (0, ground.shape.objects);
        for (at, held) in held.iter().enumerate() {
            let put = match finder.find(held.address()) {
                Some((head, index)) if self.owns(head, own) => {
                    if !SMALL {
                        self.lists.put(ground, finder.frame(held.address()), index)
                    } else {
                        let put = put_by_record(head, index, count);
                        if put == Put::FirstOrLast {
                            self.lists.settle(ground, finder.frame(held.address()));
                        }
                        put != Put::Twice
                    }
                }
                _ => false,
            };
            if !put {
                others |= 1 << at;
            }
        }
        others
    }

    /// Whether there are many more empty slabs than a shard keeps.
    #[inline]
    pub(crate) fn is_fat(&self) -> bool {
        self.lists.empty.len >= MANY_EMPTY
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shard.usable.store(self.lists.usable(), Ordering::Relaxed);
    }
}
