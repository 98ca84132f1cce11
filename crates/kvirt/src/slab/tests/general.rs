//! What callers get.

use alloc::vec::Vec;
use std::collections::BTreeSet;

use foliant_uapi::text::Text;

use super::super::{CacheSpec, How, SIZES, SlabError};
use super::{audit, bytes, cache, elevens, fill, free, free_bulk, gone, kfree, krealloc, small, with_cpus};

#[test]
fn every_size_is_had_aligned_and_of_its_class() {
    let slab = small();
    for size in (1..300).chain([500, 512, 1000, 4095, 4096, 8192, 8193, 70_000]) {
        let object = slab.kmalloc(size, How::KERNEL).unwrap();
        let has = slab.ksize(object);
        assert!(has >= size);
        assert!(SIZES.contains(&has) || has.is_power_of_two() && size > 8192);
        assert!(
            object
                .as_ptr()
                .addr()
                .is_multiple_of(1 << size.trailing_zeros().min(12))
        );
        fill(object, has, 0x5a);
        kfree(&slab, object);
        audit(&slab);
    }
    gone(slab);
}

#[test]
fn objects_do_not_overlap() {
    let slab = small();
    for size in [8, 24, 64, 96, 192, 700, 8192] {
        let objects: Vec<_> = (0..90)
            .map(|_| slab.kmalloc(size, How::KERNEL).unwrap())
            .collect();
        for (at, &object) in objects.iter().enumerate() {
            fill(object, size, at as u8);
        }
        for (at, &object) in objects.iter().enumerate() {
            assert!(bytes(object, size).iter().all(|&byte| byte == at as u8));
        }
        assert!(audit(&slab).in_use >= 90);
        objects.into_iter().for_each(|object| kfree(&slab, object));
    }
    assert_eq!(audit(&slab).in_use, 0);
    gone(slab);
}

#[test]
fn what_is_freed_is_used_next() {
    let slab = small();
    let first = slab.kmalloc(64, How::KERNEL).unwrap();
    kfree(&slab, first);
    assert_eq!(slab.kmalloc(64, How::KERNEL), Ok(first));
    kfree(&slab, first);
    gone(slab);
}

#[test]
fn zeroed_memory_is_zero_however_it_was_used() {
    let slab = small();
    for size in [8, 96, 1000, 20_000] {
        let object = slab.kmalloc(size, How::KERNEL).unwrap();
        fill(object, size, 0xff);
        kfree(&slab, object);
        let again = slab.kmalloc(size, How::KERNEL.zeroed()).unwrap();
        assert!(bytes(again, size).iter().all(|&byte| byte == 0));
        kfree(&slab, again);
    }
    gone(slab);
}

#[test]
fn a_size_of_zero_is_no_memory_and_may_be_freed() {
    let slab = small();
    let nothing = slab.kmalloc(0, How::KERNEL).unwrap();
    assert_eq!(slab.ksize(nothing), 0);
    kfree(&slab, nothing);
    kfree(&slab, nothing);
    gone(slab);
}

#[test]
fn krealloc_keeps_content_and_stays_where_it_fits() {
    let slab = small();
    let mut object = slab.kmalloc(5, How::KERNEL).unwrap();
    fill(object, 5, 7);
    let mut len = 5;
    for size in [8, 9, 64, 65, 4000, 9000, 100_000, 3] {
        let new = krealloc(&slab, object, size).unwrap();
        assert_eq!(
            new == object,
            size <= slab.ksize(object) && size <= slab.ksize(new)
        );
        object = new;
        len = len.min(size);
        assert!(bytes(object, len).iter().all(|&byte| byte == 7), "{size}");
        audit(&slab);
    }
    kfree(&slab, object);
    gone(slab);
}

#[test]
fn large_memory_is_told_apart_by_the_frames_record() {
    let slab = small();
    let large = slab.kmalloc(40_000, How::KERNEL).unwrap();
    let object = slab.kmalloc(4096, How::KERNEL).unwrap();
    assert_eq!((slab.ksize(large), slab.large_frames()), (65_536, 16));
    assert_eq!(slab.ksize(object), 4096);
    kfree(&slab, large);
    kfree(&slab, object);
    assert_eq!(slab.large_frames(), 0);
    gone(slab);
}

#[test]
fn sizes_that_no_folio_has_are_refused() {
    let slab = small();
    assert_eq!(slab.kmalloc((4 << 20) + 1, How::KERNEL), Err(SlabError::TooLarge));
    assert_eq!(slab.kmalloc(usize::MAX, How::KERNEL), Err(SlabError::TooLarge));
    gone(slab);
}

#[test]
fn kfree_finds_the_cache_that_an_object_is_from() {
    let slab = small();
    let inodes = cache(&slab, CacheSpec::new("inode", 600));
    let object = inodes.alloc(How::KERNEL).unwrap();
    assert_eq!(slab.ksize(object), 600);
    kfree(&slab, object);
    assert_eq!(audit(&slab).in_use, 0);
    drop(inodes);
    gone(slab);
}

#[test]
fn objects_are_constructed_once_and_keep_their_state() {
    let slab = small();
    let spec = CacheSpec::new("constructed", 40).constructor(elevens);
    let cache = cache(&slab, spec);
    let all: Vec<_> = (0..200)
        .map(|_| cache.alloc(How::KERNEL.zeroed()).unwrap())
        .collect();
    assert!(all.iter().all(|&object| bytes(object, 40) == [0x11; 40]));
    for &object in &all {
        fill(object, 1, 0x22);
        free(&cache, object);
    }
    let kept = (0..200).map(|_| cache.alloc(How::KERNEL).unwrap());
    let kept: Vec<_> = kept.collect();
    assert!(kept.iter().all(|&object| bytes(object, 40)[1..] == [0x11; 39]));
    kept.into_iter().for_each(|object| free(&cache, object));
    drop(cache);
    gone(slab);
}

#[test]
fn many_objects_are_had_at_once_or_not_at_all() {
    let slab = small();
    let cache = cache(&slab, CacheSpec::new("bulk", 1000));
    let mut objects = [None; 100];
    cache.alloc_bulk(How::KERNEL, &mut objects).unwrap();
    let all: BTreeSet<_> = objects.iter().flatten().copied().collect();
    assert_eq!(all.len(), 100);
    let list: Vec<_> = all.into_iter().collect();
    free_bulk(&cache, &list);
    let mut too_many = [None; 4000];
    assert!(matches!(
        cache.alloc_bulk(How::KERNEL, &mut too_many),
        Err(SlabError::NoFrame(_))
    ));
    assert!(too_many.iter().all(Option::is_none));
    assert_eq!(audit(&slab).in_use, 0);
    drop(cache);
    gone(slab);
}

#[test]
fn shrinking_gives_back_every_frame_without_an_object() {
    let slab = with_cpus(2, 2048);
    let before = slab.phys().stats().free;
    let cache = cache(&slab, CacheSpec::new("shrunk", 128));
    let own = before - slab.phys().stats().free;
    let objects: Vec<_> = (0..3200).map(|_| cache.alloc(How::KERNEL).unwrap()).collect();
    let keep = objects[1600];
    for &object in objects.iter().filter(|&&object| object != keep) {
        free(&cache, object);
    }
    assert!(cache.shrink() > 0);
    let census = audit(&slab);
    assert_eq!((census.in_use, census.at_hand, census.slabs), (1, 0, 1));
    free(&cache, keep);
    assert_eq!(cache.shrink(), 1);
    assert_eq!(before - slab.phys().stats().free, own);
    drop(cache);
    gone(slab);
}

#[test]
fn slabinfo_has_the_shapes_of_linux() {
    let slab = with_cpus(2, 512);
    let one = slab.kmalloc(60, How::KERNEL).unwrap();
    let info = slab.info();
    let line = |name: &str| {
        let cache = info.caches.iter().find(|cache| cache.name == name).unwrap();
        alloc::string::String::from_utf8(cache.to_bytes()).unwrap()
    };
    // A batch was taken out of the new slab: one object is in use, and the others
    // are at hand of the CPU, which Linux counts as active too.
    assert_eq!(
        line("kmalloc-64"),
        "kmalloc-64            32     64     64   64    1 \
         : tunables    0    0    0 : slabdata      1      1      0\n"
    );
    assert_eq!(
        line("kmalloc-8k"),
        "kmalloc-8k             0      0   8192    4    8 \
         : tunables    0    0    0 : slabdata      0      0      0\n"
    );
    kfree(&slab, one);
    gone(slab);
}

/// The running kernel's slabs are as large as ours for the same number of CPUs.
#[test]
fn shapes_equal_the_running_kernels() {
    use foliant_uapi::text::Slabinfo;
    let Ok(text) = std::fs::read("/proc/slabinfo") else {
        std::println!("skipped: /proc/slabinfo cannot be read");
        return;
    };
    let live = Slabinfo::parse(&text).unwrap();
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get()) as u32;
    let slab = with_cpus(cpus, 4096);
    for ours in slab.info().caches {
        let Some(theirs) = live.caches.iter().find(|cache| cache.name == ours.name) else {
            continue;
        };
        if theirs.object_size != ours.object_size {
            std::println!("skipped: {} of this kernel looks for mistakes", ours.name);
            continue;
        }
        assert_eq!(ours.pages_per_slab, theirs.pages_per_slab, "{}", ours.name);
        if ours.object_size >= 24 {
            assert_eq!(ours.objects_per_slab, theirs.objects_per_slab, "{}", ours.name);
        }
    }
    gone(slab);
}
