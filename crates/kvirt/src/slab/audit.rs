//! Every object accounted for.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foliant_phys::Phys;
use foliant_platform::Platform;

use super::cache::Cache;
use super::kmalloc::Slab;
use super::object::Object;
use super::page::{Kind, Page};
use super::report::{Problem, Report};
use super::shard::Tally;

/// Where the objects and frames of caches are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlabCensus {
    /// Objects that users have.
    pub in_use: u64,
    /// Free objects at hand of CPUs and in depots.
    pub at_hand: u64,
    /// Free objects in slabs.
    pub free: u64,
    /// Slabs.
    pub slabs: u64,
    /// Frames of slabs, those that wait for a grace period included.
    pub frames: u64,
    /// Slabs that wait for a grace period.
    pub in_limbo: u64,
}

impl SlabCensus {
    fn add(&mut self, other: Self) {
        self.in_use += other.in_use;
        self.at_hand += other.at_hand;
        self.free += other.free;
        self.slabs += other.slabs;
        self.frames += other.frames;
        self.in_limbo += other.in_limbo;
    }
}

impl<P: Platform> Cache<P> {
    /// Looks at every object and reports each that is not where it should be,
    /// and each whose surroundings changed. Meaningful while nobody allocates
    /// or frees.
    pub fn audit(&self, report: &mut dyn FnMut(Report)) -> SlabCensus {
        let mut census = SlabCensus::default();
        let at_hand = self.objects_at_hand(report);
        census.at_hand = at_hand.len() as u64;
        let mut seen_at_hand = 0;
        let mut pages: Vec<(foliant_units::Pfn, Kind)> = Vec::new();
        for shard in self.part.shards() {
            // Collected first: the heap may be this allocator.
            let slabs = self.masked(|| shard.tally(self.ground())).slabs as usize;
            pages.reserve(slabs + 1);
            let room = pages.capacity();
            self.masked(|| {
                shard.each(self.ground(), |page, kind| {
                    if pages.len() < room {
                        pages.push((page.pfn, kind));
                    }
                })
            });
        }
        for (pfn, kind) in pages {
            let page = self.ground().page(pfn);
            census.slabs += 1;
            let free = self.audit_page(page, kind, &at_hand, &mut seen_at_hand, report);
            census.free += u64::from(free);
            census.in_use += u64::from(self.shape.objects - free);
        }
        census.in_use = census.in_use.saturating_sub(census.at_hand);
        if seen_at_hand != at_hand.len() {
            report(self.about(None, Problem::Lost));
        }
        census.in_limbo = self.masked(|| self.limbo.len()) as u64;
        census.frames = (census.slabs + census.in_limbo) * self.shape.order.frames();
        census
    }

    /// Free objects outside of slabs; each must be there once.
    fn objects_at_hand(&self, report: &mut dyn FnMut(Report)) -> BTreeSet<Object> {
        let mut list =
            Vec::with_capacity(self.part.cpus() * (super::cpu::SLOTS + 1) + self.part.depot().len());
        for cpu in 0..self.part.cpus() {
            list.extend(self.part.area(cpu).iter());
        }
        let room = list.capacity();
        self.masked(|| {
            self.part.depot().each(|object| {
                if list.len() < room {
                    list.push(object);
                }
            })
        });
        let mut set = BTreeSet::new();
        for object in list {
            if !set.insert(object) {
                report(self.about(Some(object), Problem::DoubleFree));
            }
        }
        set
    }

    /// Free objects of one slab.
    fn audit_page(
        &self,
        page: Page<'_, Phys<P>>,
        kind: Kind,
        at_hand: &BTreeSet<Object>,
        seen: &mut usize,
        report: &mut dyn FnMut(Report),
    ) -> u32 {
        let mut free = 0;
        for index in 0..self.shape.objects {
            let object = page.object(index);
            let is_free = page.is_free(index);
            free += u32::from(is_free);
            let is_at_hand = at_hand.contains(&object);
            *seen += usize::from(is_at_hand);
            if is_free && is_at_hand {
                report(self.about(Some(object), Problem::Lost));
            }
            let problem = match (self.shape.debug.is_empty(), is_free) {
                (true, _) => None,
                (false, true) => self.check_free(object),
                (false, false) => self.check_in_use(object),
            };
            if let Some(problem) = problem {
                report(self.report(object, problem));
            }
        }
        let (counted, found) = (page.in_use(), self.shape.objects - free);
        if counted != found || page.proper_kind() != kind {
            report(self.about(Some(page.object(0)), Problem::BadCount { counted, found }));
        }
        free
    }

    fn about(&self, object: Option<Object>, problem: Problem) -> Report {
        Report {
            cache: self.name,
            object: object.map_or(0, |object| object.0.as_ptr().addr()),
            problem,
            allocated: None,
            freed: None,
        }
    }

    /// Slabs and objects, counted under each shard's lock in turn.
    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for shard in self.part.shards() {
            let one = self.masked(|| shard.tally(self.ground()));
            all.slabs += one.slabs;
            all.empty += one.empty;
            all.in_use += one.in_use;
        }
        all
    }
}

impl<P: Platform> Slab<P> {
    /// Audits every cache. See [`Cache::audit`].
    pub fn audit(&self, report: &mut dyn FnMut(Report)) -> SlabCensus {
        let mut census = SlabCensus::default();
        self.each_cache(|cache| census.add(cache.audit(report)));
        census
    }
}
