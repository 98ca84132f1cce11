//! What `/proc/slabinfo` says about the caches.

use alloc::string::ToString;

use foliant_platform::Platform;
use foliant_uapi::text::{Slabinfo, SlabinfoCache};

use super::cache::Cache;
use super::kmalloc::Slab;

impl<P: Platform> Cache<P> {
    /// The cache's line. Objects that CPUs have at hand count as active, as on
    /// Linux.
    ///
    /// # Linux source concept
    /// `get_slabinfo()`.
    pub fn info(&self) -> SlabinfoCache {
        let tally = self.tally();
        SlabinfoCache {
            name: self.name.to_string(),
            active_objects: tally.in_use,
            objects: tally.slabs * u64::from(self.shape.objects),
            object_size: self.shape.stride as u32,
            objects_per_slab: self.shape.objects,
            pages_per_slab: self.shape.order.frames() as u32,
            limit: 0,
            batch: 0,
            shared_factor: 0,
            active_slabs: tally.slabs,
            slabs: tally.slabs,
            shared_available: 0,
        }
    }
}

impl<P: Platform> Slab<P> {
    /// `/proc/slabinfo`: the cache that was made last comes first.
    ///
    /// # Linux source concept
    /// `slab_show()`.
    pub fn info(&self) -> Slabinfo {
        let mut caches = alloc::vec::Vec::new();
        self.each_cache(|cache| caches.push(cache.info()));
        caches.reverse();
        Slabinfo { caches }
    }
}
