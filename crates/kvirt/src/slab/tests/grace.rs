//! Objects that are read after they were freed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_paging::Epoch;

use super::super::{CacheSpec, How};
use super::{audit, bytes, cache, fill, free, gone, small};

#[test]
fn frames_outlive_the_readers_that_may_look_into_them() {
    let slab = small();
    let readers = Arc::new(Epoch::new(1));
    let cache = cache(&slab, CacheSpec::new("typesafe", 512).typesafe(readers.clone()));
    let objects: Vec<_> = (0..64).map(|_| cache.alloc(How::KERNEL).unwrap()).collect();
    objects.iter().for_each(|&object| fill(object, 512, 9));

    let reading = readers.pin(0);
    objects.iter().for_each(|&object| free(&cache, object));
    cache.shrink();
    let census = audit(&slab);
    assert_eq!((census.slabs, census.in_limbo > 0), (0, true));
    assert!(objects.iter().all(|&object| bytes(object, 512) == [9; 512]));

    drop(reading);
    for _ in 0..3 {
        cache.shrink();
    }
    assert_eq!(audit(&slab).frames, 0);
    drop(cache);
    gone(slab);
}

#[test]
fn a_cache_that_goes_takes_its_limbo_along() {
    let slab = small();
    let cache = cache(
        &slab,
        CacheSpec::new("typesafe", 64).typesafe(Arc::new(Epoch::new(1))),
    );
    let object = cache.alloc(How::KERNEL).unwrap();
    free(&cache, object);
    cache.shrink();
    drop(cache);
    gone(slab);
}
