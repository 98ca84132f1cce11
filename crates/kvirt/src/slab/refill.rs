//! Allocation when the CPU has no object at hand.

use core::panic::Location;
use core::ptr::NonNull;

use foliant_phys::{AllocRequest, FrameFlags, Mobility, Owner, Phys};
use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;

use super::batch::{Accepts, Batch};
use super::cache::Cache;
use super::object::{DirectMap, Object};
use super::page::Page;
use super::spec::{Account, How, SlabError};

impl<P: Platform> Cache<P> {
    /// Steps of the ladder below the objects at hand: the depot, the CPU's
    /// shard, another shard's surplus, a new slab, anything at all.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_slowly(
        &self,
        how: How,
        caller: &'static Location<'static>,
    ) -> Result<Object, SlabError> {
        if !self.shape.debug.is_empty() {
            return self.alloc_checked(how, caller);
        }
        match self.refill() {
            Some(object) => Ok(object),
            None => self.grow(how),
        }
    }

    /// Fills the CPU's area from what the cache has, and takes one object.
    /// Where someone is using the area, takes just that one.
    fn refill(&self) -> Option<Object> {
        let guard = self.enter();
        // What brought the caller here may have been someone in the area, and
        // not that it was empty. From now on it is.
        if let Some(object) = guard.as_ref().and_then(|guard| guard.area.pop()) {
            return Some(object);
        }
        let Some(guard) = guard else {
            let mut one = Batch::new();
            self.fetch(1, &mut one);
            return one.pop();
        };
        self.fetch(self.limits.batch, &mut guard.area.filler());
        guard.area.pop()
    }

    /// Takes up to `want` objects from the depot, else from slabs.
    fn fetch(&self, want: usize, into: &mut impl Accepts) {
        let cpu = self.platform.cpu().index();
        self.masked(|| {
            if self.part.depot().take(want, into) == 0 {
                self.take_from_shards(cpu, want, into);
            }
        });
    }

    /// Takes objects from the shard of `cpu`, with slabs of another shard if it
    /// has none and the other has plenty. Interrupts are masked.
    pub(crate) fn take_from_shards(&self, cpu: usize, want: usize, into: &mut impl Accepts) {
        let shards = self.part.shards();
        let own = self.part.shard_of(cpu);
        if !shards[own].has_some() {
            let Some(rich) = shards.iter().find(|shard| shard.has_plenty()) else {
                return;
            };
            let Some(page) = rich.steal(self.ground(), own as u32) else {
                return;
            };
            shards[own].adopt(self.ground(), page);
        }
        shards[own].lock().take(self.ground(), want, into);
    }

    /// Makes a slab and takes its first object.
    ///
    /// # Linux source concept
    /// `new_slab()`.
    pub(crate) fn grow(&self, how: How) -> Result<Object, SlabError> {
        let page = match self.new_page(how) {
            Ok(page) => page,
            Err(error) => return self.scrape().ok_or(error),
        };
        self.make_objects(page);
        let first = self.take_first(page);
        let own = self.part.shard_of(self.platform.cpu().index());
        page.assign(own as u32);
        self.masked(|| self.part.shards()[own].adopt(self.ground(), page));
        first.ok_or(SlabError::TooLarge)
    }

    /// Takes an object out of a new slab, and some more to have them at hand.
    fn take_first(&self, page: Page<'_, Phys<P>>) -> Option<Object> {
        let at_hand = (self.limits.at_hand > 0).then(|| self.enter()).flatten();
        let Some(guard) = at_hand else {
            let mut one = Batch::new();
            page.take(1, &mut one);
            return one.pop();
        };
        // Whoever slept for the frame may find some here that came meanwhile.
        page.take(self.limits.batch, &mut guard.area.filler());
        guard.area.pop()
    }

    fn new_page(&self, how: How) -> Result<Page<'_, Phys<P>>, SlabError> {
        let mobility = match self.account {
            Account::Unreclaimable => Mobility::Unmovable,
            Account::Reclaimable => Mobility::Reclaimable,
        };
        let request = AllocRequest {
            mobility,
            effort: how.effort,
            ..AllocRequest::kernel(Owner::Slab)
        };
        let frame = self.phys.alloc(request.order(self.shape.order))?;
        if DirectMap::seen_at(&self.platform, frame.pfn()) != self.map {
            return Err(SlabError::DirectMapNotLinear);
        }
        let pfn = frame.into_pfn();
        let page = self.ground().page(pfn);
        page.begin();
        for at in 0..self.shape.order.frames() {
            let record = self.phys.record(pfn + at);
            record.mapping.store(self.tag.raw(), Ordering::Relaxed);
            record.set(FrameFlags::SLAB);
        }
        Ok(page)
    }

    fn make_objects(&self, page: Page<'_, Phys<P>>) {
        if self.constructor.is_none() && self.shape.debug.is_empty() {
            return;
        }
        for index in 0..self.shape.objects {
            self.make_new(page.object(index));
        }
    }

    /// There is no frame: whatever is free anywhere in the cache.
    #[cold]
    fn scrape(&self) -> Option<Object> {
        self.drain_everywhere();
        let cpu = self.platform.cpu().index();
        let own = self.part.shard_of(cpu);
        let shards = self.part.shards();
        let mut batch = Batch::new();
        self.masked(|| {
            for shard in (0..shards.len()).map(|at| &shards[(own + at) % shards.len()]) {
                if shard.has_some() {
                    shard.lock().take(self.ground(), 1, &mut batch);
                }
                if !batch.as_slice().is_empty() {
                    break;
                }
            }
        });
        batch.pop()
    }

    /// Objects for all of `into`, or none.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc); then every object that was had is free again.
    ///
    /// # Linux source concept
    /// `kmem_cache_alloc_bulk()`.
    #[track_caller]
    pub fn alloc_bulk(&self, how: How, into: &mut [Option<NonNull<u8>>]) -> Result<(), SlabError> {
        for at in 0..into.len() {
            match self.alloc(how) {
                Ok(object) => into[at] = Some(object),
                Err(error) => {
                    let caller = Location::caller();
                    for object in into[..at].iter_mut().filter_map(Option::take) {
                        self.put(Object(object), caller);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
