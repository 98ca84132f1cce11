//! Caches that look for mistakes: what they write around and into objects, and
//! what they find there.
//!
//! ```text
//! | left red zone | object | right red zone | allocated by | freed by |
//! ```
//!
//! # Linux source concept
//! `check_object()`, `init_object()`, `alloc_debug_processing()` and
//! `free_debug_processing()`; the byte values are Linux's.
#![allow(unsafe_code)]

use core::panic::Location;

use foliant_platform::Platform;

use super::batch::Batch;
use super::cache::Cache;
use super::object::{Bytes, Object, construct, read_track, write_track};
use super::page::Place;
use super::report::{Problem, Report, Track};
use super::spec::{Debug, How, SlabError};

/// Red zones around a free object.
const ZONE_FREE: u8 = 0xbb;
/// Red zones around an object in use.
const ZONE_IN_USE: u8 = 0xcc;
/// A free object's bytes.
const FREE: u8 = 0x6b;
/// Its last byte.
const FREE_END: u8 = 0xa5;

/// Which of the two tracks.
const ALLOCATED: usize = 0;
const FREED: usize = 1;

impl<P: Platform> Cache<P> {
    /// Takes an object and looks whether someone wrote to it while it was free.
    /// One that was written to is never given out.
    pub(crate) fn alloc_checked(
        &self,
        how: How,
        caller: &'static Location<'static>,
    ) -> Result<Object, SlabError> {
        loop {
            let cpu = self.platform.cpu().index();
            let mut batch = Batch::new();
            self.masked(|| self.take_from_shards(cpu, 1, &mut batch));
            let object = match batch.pop() {
                Some(object) => object,
                None => self.grow(how)?,
            };
            if let Some(problem) = self
                .check(object, ZONE_FREE)
                .or_else(|| self.check_poison(object))
            {
                self.violations.note(self.report(object, problem));
                continue;
            }
            self.zones(object, |zone| zone.fill(ZONE_IN_USE));
            self.track(object, ALLOCATED, Some(self.now(caller)));
            return Ok(object);
        }
    }

    /// Checks everything about a free, and does it if it is one.
    pub(crate) fn free_checked(&self, object: Object, caller: &'static Location<'static>) {
        let problem = loop {
            let (page, found) = match self.locate(object) {
                Ok(found) => (self.ground().page(found.pfn), found),
                Err(problem) => break Some(problem),
            };
            let own = Place::of(page.record).shard;
            let shard = &self.part.shards()[own as usize % self.part.shards().len()];
            let outcome = self.masked(|| {
                let mut locked = shard.lock();
                if !locked.owns(page.record, own) {
                    return None;
                }
                if page.is_free(found.index) {
                    return Some(Err(self.report(object, Problem::DoubleFree)));
                }
                let broken = self.check(object, ZONE_IN_USE);
                let broken = broken.map(|problem| self.report(object, problem));
                self.make_free(object, Some(self.now(caller)));
                locked.put(self.ground(), found);
                Some(Ok((broken, locked.is_fat())))
            });
            match outcome {
                None => continue,
                Some(Err(report)) => return self.violations.note(report),
                Some(Ok((broken, fat))) => {
                    if fat {
                        self.trim(own, true);
                    }
                    if let Some(report) = broken {
                        self.violations.note(report);
                    }
                    return;
                }
            }
        };
        if let Some(problem) = problem {
            self.complain(object, problem);
        }
    }

    /// Makes an object of a new slab, which looks like one that was freed by
    /// nobody.
    pub(crate) fn make_new(&self, object: Object) {
        if !self.shape.debug.is_empty() {
            self.make_free(object, None);
            self.track(object, ALLOCATED, None);
        }
        if let Some(constructor) = self.constructor {
            // SAFETY: the slab is new and ours alone, and its objects have the
            // size and alignment of the cache, whose constructor it is.
            unsafe { construct(constructor, object) }
        }
    }

    /// The red zones of an object that is in use, for audits.
    pub(crate) fn check_in_use(&self, object: Object) -> Option<Problem> {
        self.check(object, ZONE_IN_USE)
    }

    /// The red zones and content of an object that is free, for audits.
    pub(crate) fn check_free(&self, object: Object) -> Option<Problem> {
        self.check(object, ZONE_FREE)
            .or_else(|| self.check_poison(object))
    }

    /// A report with what the cache knows about the object's history.
    pub(crate) fn report(&self, object: Object, problem: Problem) -> Report {
        Report {
            cache: self.name,
            object: object.0.as_ptr().addr(),
            problem,
            allocated: self.read(object, ALLOCATED),
            freed: self.read(object, FREED),
        }
    }

    fn make_free(&self, object: Object, by: Option<Track>) {
        if self.shape.debug.contains(Debug::POISON) {
            let size = self.shape.size as isize;
            self.bytes(object, 0, size - 1).fill(FREE);
            self.bytes(object, size - 1, size).fill(FREE_END);
        }
        self.zones(object, |zone| zone.fill(ZONE_FREE));
        self.track(object, FREED, by);
    }

    fn check(&self, object: Object, expected: u8) -> Option<Problem> {
        let mut problem = None;
        self.zones(object, |zone| {
            if let Some((offset, found)) = zone.first_other_than(expected) {
                problem = problem.or(Some(Problem::RedZone {
                    offset,
                    expected,
                    found,
                }));
            }
        });
        problem
    }

    fn check_poison(&self, object: Object) -> Option<Problem> {
        if !self.shape.debug.contains(Debug::POISON) {
            return None;
        }
        let size = self.shape.size as isize;
        let parts = [(0, size - 1, FREE), (size - 1, size, FREE_END)];
        parts.into_iter().find_map(|(from, to, expected)| {
            let (offset, found) = self.bytes(object, from, to).first_other_than(expected)?;
            Some(Problem::Poison {
                offset,
                expected,
                found,
            })
        })
    }

    /// Both red zones, if there are any.
    fn zones(&self, object: Object, mut each: impl FnMut(Bytes)) {
        if self.shape.debug.contains(Debug::RED_ZONES) {
            let left = self.shape.left as isize;
            each(self.bytes(object, -left, 0));
            each(self.bytes(
                object,
                self.shape.size as isize,
                self.shape.right_end as isize - left,
            ));
        }
    }

    fn bytes(&self, object: Object, from: isize, to: isize) -> Bytes {
        // SAFETY: the callers have the object: it was just taken out of its
        // slab, is being freed under the lock of its shard, or lies in a new
        // slab; and they name bytes between the start and the end of its stride.
        unsafe { Bytes::new(object, from, to) }
    }

    fn now(&self, caller: &'static Location<'static>) -> Track {
        Track {
            caller,
            cpu: self.platform.cpu(),
            at: self.platform.now(),
        }
    }

    fn track(&self, object: Object, which: usize, track: Option<Track>) {
        if let Some(at) = self.shape.tracks {
            let place = at as isize - self.shape.left as isize;
            // SAFETY: the shape left room for both tracks there, aligned; the
            // callers have the object, as for `bytes`.
            unsafe { write_track(object.0.offset(place), which, track) }
        }
    }

    fn read(&self, object: Object, which: usize) -> Option<Track> {
        let place = self.shape.tracks? as isize - self.shape.left as isize;
        // SAFETY: as in `track`; what lies there is checked.
        unsafe { read_track(object.0.offset(place), which) }
    }
}
