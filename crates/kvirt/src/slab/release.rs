//! Objects on their way back to their slabs, and slabs to the frame allocator.

use core::panic::Location;

use foliant_phys::{FrameFlags, Phys};
use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;

use super::batch::{BATCH, Batch, Holds};
use super::cache::Cache;
use super::cpu::{CpuArea, CpuGuard};
use super::find::{Finder, Located};
use super::object::Object;
use super::page::{Page, Place};
use super::report::{Problem, Report};
use super::spec::Typesafe;

impl<P: Platform> Cache<P> {
    /// Frees an object when the CPU's area is full or in use: its oldest
    /// objects make room, for other CPUs first, then back into their slabs.
    #[cold]
    #[inline(never)]
    pub(crate) fn free_slowly(&self, object: Object, caller: &'static Location<'static>) {
        if !self.shape.debug.is_empty() {
            return self.free_checked(object, caller);
        }
        let Some(guard) = self.enter() else {
            return self.flush(&[object]);
        };
        if guard.area.is_drain_wanted() {
            self.drain(&guard);
        } else {
            self.make_room(&guard);
        }
        let fits = guard.area.push_more(object);
        debug_assert!(fits, "a batch was taken out of the area");
    }

    /// Takes the oldest objects of a full area away.
    fn make_room(&self, guard: &CpuGuard<'_, P>) {
        let oldest = guard.area.take_oldest(self.limits.batch);
        let (depot, limit) = (self.part.depot(), self.limits.depot);
        let kept = match depot.is_full(oldest.len(), limit) {
            true => 0,
            false => self.masked(|| depot.put(oldest, limit)),
        };
        self.flush(&oldest[kept..]);
    }

    /// Puts objects back into their slabs.
    pub(crate) fn flush(&self, objects: &[impl Holds]) {
        debug_assert!(objects.len() <= BATCH, "there is a bit for each");
        let Some(first) = objects.first() else {
            return;
        };
        // Most are from slabs of one shard: this CPU's, or that of the CPU which
        // allocates what this one frees.
        let finder = self.finder();
        let own = match finder.find(first.address()) {
            Some((head, _)) => Place::of(head).shard,
            None => self.part.shard_of(self.platform.cpu().index()) as u32,
        };
        let (left, fat) = self.masked(|| self.put_into_one(finder, own, objects));
        if fat {
            self.trim(own, true);
        }
        if left != 0 {
            self.flush_others(objects, left);
        }
    }

    /// Puts those objects back that are of a shard; tells which were not, and
    /// whether the shard should shrink.
    #[inline]
    fn put_into_one<H: Holds>(&self, finder: Finder<'_>, own: u32, objects: &[H]) -> (u32, bool) {
        let Some(shard) = self.part.shards().get(own as usize) else {
            return (u32::MAX, false);
        };
        let ground = self.ground();
        let mut locked = shard.lock();
        let left = if self.shape.words == 1 {
            locked.put_all::<_, H, true>(ground, finder, own, objects)
        } else {
            locked.put_all::<_, H, false>(ground, finder, own, objects)
        };
        (left, locked.is_fat())
    }

    /// Puts back objects of other shards, and complains about those that are
    /// no objects or free already.
    ///
    /// The shard of a slab is read without its lock, and again with it: if the
    /// slab changed hands in between, its objects have another turn.
    #[cold]
    #[inline(never)]
    fn flush_others(&self, objects: &[impl Holds], others: u32) {
        let mut found = [const { None }; BATCH];
        let mut waiting = 0u32;
        let each = objects.iter().take(BATCH).enumerate();
        for (at, object) in each.filter_map(|(at, held)| Some((at, held.object()?))) {
            if others & 1 << at == 0 {
                continue;
            }
            match self.locate(object) {
                Ok(place) => {
                    found[at] = Some(place);
                    waiting |= 1 << at;
                }
                Err(problem) => self.complain(object, problem),
            }
        }
        while waiting != 0 {
            let first = found[waiting.trailing_zeros() as usize % BATCH];
            let Some(Located { head, .. }) = first else {
                return;
            };
            let shard = Place::of(head).shard;
            let (done, twice, fat) = self.masked(|| self.put_into(shard, &found, waiting));
            waiting &= !done;
            if twice != 0 {
                let twice = objects.iter().enumerate().filter(|(at, _)| twice & 1 << at != 0);
                let twice = twice.filter_map(|(_, held)| held.object());
                twice.for_each(|object| self.complain(object, Problem::DoubleFree));
            }
            if fat {
                self.trim(shard, true);
            }
        }
    }

    /// Puts those of the `waiting` objects that are of a shard: which these
    /// were, which were free already, and whether the shard should shrink.
    fn put_into(&self, own: u32, found: &[Option<Located<'_>>; BATCH], waiting: u32) -> (u32, u32, bool) {
        let ground = self.ground();
        let (mut done, mut twice) = (0, 0);
        let mut locked = self.part.shards()[own as usize % self.part.shards().len()].lock();
        let mut left = waiting;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            if let Some(place) = found[at as usize % BATCH]
                && locked.owns(place.head, own)
            {
                done |= 1 << at;
                if !locked.put(ground, place) {
                    twice |= 1 << at;
                }
            }
        }
        (done, twice, locked.is_fat())
    }

    #[cold]
    pub(crate) fn complain(&self, object: Object, problem: Problem) {
        self.violations.note(Report {
            cache: self.name,
            object: object.0.as_ptr().addr(),
            problem,
            allocated: None,
            freed: None,
        });
    }

    /// Gives back the frames of a shard's empty slabs, all or all but a few.
    pub(crate) fn trim(&self, shard: u32, keep_some: bool) -> u64 {
        let ground = self.ground();
        let shard = &self.part.shards()[shard as usize % self.part.shards().len()];
        match &self.typesafe {
            Typesafe::No => {
                let mut chain = self.masked(|| shard.trim(ground, keep_some));
                let slabs = chain.len() as u64;
                while let Some(page) = chain.pop(ground) {
                    self.release(page);
                }
                slabs
            }
            Typesafe::Rcu(grace) => {
                let unlist = || shard.trim(ground, keep_some);
                let slabs = self.masked(|| self.limbo.retire(ground, grace.as_ref(), unlist));
                self.release_after_grace();
                slabs as u64
            }
        }
    }

    /// Gives back the frames in limbo whose grace period is over.
    pub(crate) fn release_after_grace(&self) {
        if let Typesafe::Rcu(grace) = &self.typesafe {
            let ground = self.ground();
            let all = self.masked(|| self.limbo.take());
            let (mut over, rest) = self.limbo.sort(all, ground, grace.as_ref());
            self.masked(|| self.limbo.put_back(rest, ground));
            while let Some(page) = over.pop(ground) {
                self.release(page);
            }
        }
    }

    /// Gives the frames of a slab back to the frame allocator.
    fn release(&self, page: Page<'_, Phys<P>>) {
        let pfn = page.pfn;
        page.end();
        for at in 0..self.shape.order.frames() {
            let record = self.phys.record(pfn + at);
            record.clear(FrameFlags::SLAB);
            record.mapping.store(0, Ordering::Relaxed);
        }
        drop(self.phys.adopt(pfn));
    }

    /// Puts a CPU's objects back into their slabs.
    #[cold]
    pub(crate) fn drain(&self, guard: &CpuGuard<'_, P>) {
        // Whoever asks from now on asks again, for nothing: under the guard no
        // object comes.
        guard.area.allow(self.limits.at_hand);
        self.empty(guard.area);
    }

    /// Puts all objects of an area back; nobody else is using it.
    fn empty(&self, area: &CpuArea) {
        loop {
            let oldest = area.take_oldest(BATCH);
            if oldest.is_empty() {
                break;
            }
            self.flush(oldest);
        }
        if let Some(hot) = area.take_hot() {
            self.flush(&[hot]);
        }
    }

    /// Puts the objects of all CPUs and of the depot back into their slabs: at
    /// once those of this CPU, and of others where the platform allows it;
    /// elsewhere each CPU does it when it next frees an object.
    pub(crate) fn drain_everywhere(&self) {
        self.drain_here();
        let here = self.platform.cpu().index();
        for cpu in (0..self.part.cpus()).filter(|&cpu| cpu != here) {
            let area = self.part.area(cpu);
            match CpuGuard::enter_other(&self.platform, area) {
                Some(guard) => self.drain(&guard),
                None if !area.is_empty() => area.want_drain(),
                None => {}
            }
        }
        loop {
            let mut batch = Batch::new();
            if self.masked(|| self.part.depot().take(usize::MAX, &mut batch)) == 0 {
                break;
            }
            self.flush(batch.as_slice());
        }
    }

    /// Puts this CPU's objects back into their slabs: for an idle loop, or for
    /// whoever brings another CPU's request.
    pub fn drain_here(&self) {
        if let Some(guard) = self.enter() {
            self.drain(&guard);
        }
    }

    /// Gives back all frames that hold no object in use; returns how many.
    /// Those of other CPUs' objects follow when these next free one.
    ///
    /// # Linux source concept
    /// `kmem_cache_shrink()`.
    pub fn shrink(&self) -> u64 {
        self.drain_everywhere();
        let shards = 0..self.part.shards().len() as u32;
        let slabs: u64 = shards.map(|shard| self.trim(shard, false)).sum();
        self.release_after_grace();
        slabs * self.shape.order.frames()
    }
}

impl<P: Platform> Drop for Cache<P> {
    fn drop(&mut self) {
        for cpu in 0..self.part.cpus() {
            self.empty(self.part.area(cpu));
        }
        self.shrink();
        // Whoever drops the cache says that there are no readers any more.
        let ground = self.ground();
        let mut rest = self.limbo.take();
        while let Some(page) = rest.pop(ground) {
            self.release(page);
        }
        let left = self.tally();
        if left.slabs > 0 {
            self.violations.note(Report {
                cache: self.name,
                object: 0,
                problem: Problem::StillInUse {
                    objects: left.in_use as usize,
                },
                allocated: None,
                freed: None,
            });
        }
    }
}
