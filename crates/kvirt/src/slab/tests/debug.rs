//! Mistakes, and the messages about them.

use alloc::string::ToString;
use alloc::vec::Vec;

use foliant_phys::testing;

use super::super::{CacheSpec, Debug, How, Problem, Slab};
use super::{audit, bytes, cache, fill, free, further, gone, kfree, recording, strict};

fn slab(debug: Debug) -> Slab<foliant_platform::testing::TestPlatform> {
    Slab::new(testing::boot(512), recording(debug)).unwrap()
}

#[test]
fn a_checked_cache_works_like_any_other() {
    let slab = Slab::new(testing::boot(512), strict(Debug::all())).unwrap();
    for round in 0..3 {
        for size in [8, 24, 64, 100, 1000, 8192] {
            let objects: Vec<_> = (0..20)
                .map(|_| slab.kmalloc(size, How::KERNEL).unwrap())
                .collect();
            objects.iter().for_each(|&object| fill(object, size, round));
            audit(&slab);
            objects.into_iter().for_each(|object| kfree(&slab, object));
            audit(&slab);
        }
    }
    gone(slab);
}

#[test]
fn a_write_behind_an_object_is_reported_when_it_is_freed() {
    let slab = slab(Debug::RED_ZONES | Debug::OWNER);
    let cache = cache(&slab, CacheSpec::new("overrun", 20));
    let object = cache.alloc(How::KERNEL).unwrap();
    fill(object, 21, b'A');
    free(&cache, object);
    let report = cache.last_violation().unwrap();
    assert_eq!(
        report.problem,
        Problem::RedZone {
            offset: 20,
            expected: 0xcc,
            found: b'A'
        }
    );
    let text = report.to_string();
    let address = alloc::format!("{:#x}", object.as_ptr().addr());
    for part in [
        "cache overrun: object ",
        &address,
        "at offset 20: expected 0xcc, found 0x41",
        "allocated by ",
        "tests/debug.rs:",
    ] {
        assert!(text.contains(part), "{text}");
    }
    drop(cache);
    gone(slab);
}

#[test]
fn a_write_before_an_object_is_reported() {
    let slab = slab(Debug::RED_ZONES);
    let cache = cache(&slab, CacheSpec::new("underrun", 64).align(32));
    let object = cache.alloc(How::KERNEL).unwrap();
    fill(further(object, -1), 1, 0);
    free(&cache, object);
    let problem = cache.last_violation().unwrap().problem;
    assert_eq!(
        problem,
        Problem::RedZone {
            offset: -1,
            expected: 0xcc,
            found: 0
        }
    );
    drop(cache);
    gone(slab);
}

#[test]
fn a_write_to_a_free_object_is_reported_and_the_object_kept_back() {
    let slab = slab(Debug::POISON | Debug::OWNER);
    let cache = cache(&slab, CacheSpec::new("late", 32));
    let object = cache.alloc(How::KERNEL).unwrap();
    free(&cache, object);
    assert_eq!(bytes(object, 32)[30..], [0x6b, 0xa5]);
    fill(object, 1, 1);
    let mut found = 0;
    cache.audit(&mut |_| found += 1);
    assert_eq!(found, 1);

    let all: Vec<_> = (0..80).map(|_| cache.alloc(How::KERNEL).unwrap()).collect();
    assert!(!all.contains(&object));
    let report = cache.last_violation().unwrap();
    assert_eq!(
        report.problem,
        Problem::Poison {
            offset: 0,
            expected: 0x6b,
            found: 1
        }
    );
    assert!(
        report
            .freed
            .is_some_and(|track| track.caller.file().ends_with("debug.rs"))
    );
    all.into_iter().for_each(|object| free(&cache, object));
    assert_eq!(cache.violations(), 1);
}

#[test]
fn a_second_free_is_reported_and_harmless() {
    let slab = slab(Debug::CHECKS | Debug::OWNER);
    let cache = cache(&slab, CacheSpec::new("twice", 48));
    let object = cache.alloc(How::KERNEL).unwrap();
    free(&cache, object);
    free(&cache, object);
    let report = cache.last_violation().unwrap();
    assert_eq!(report.problem, Problem::DoubleFree);
    assert!(report.allocated.is_some() && report.freed.is_some());
    audit(&slab);
    drop(cache);
    gone(slab);
}

#[test]
fn a_second_free_is_found_without_checks_when_the_object_reaches_its_slab() {
    let slab = slab(Debug::empty());
    let cache = cache(&slab, CacheSpec::new("twice", 48));
    let object = cache.alloc(How::KERNEL).unwrap();
    free(&cache, object);
    free(&cache, object);
    cache.shrink();
    assert_eq!(cache.last_violation().unwrap().problem, Problem::DoubleFree);
    drop(cache);
    gone(slab);
}

#[test]
fn a_free_to_another_cache_is_reported() {
    for debug in [Debug::empty(), Debug::CHECKS] {
        let slab = slab(Debug::empty());
        let right = cache(&slab, CacheSpec::new("right", 48));
        let wrong = cache(&slab, CacheSpec::new("wrong", 48).debug(debug));
        let object = right.alloc(How::KERNEL).unwrap();
        free(&wrong, object);
        wrong.shrink();
        let report = wrong.last_violation().unwrap();
        assert_eq!(report.cache.as_str(), "wrong");
        assert!(matches!(report.problem, Problem::WrongCache(_)), "{report}");
        free(&right, object);
        drop((right, wrong));
        gone(slab);
    }
}

#[test]
fn what_is_no_object_is_not_freed() {
    let slab = slab(Debug::CHECKS);
    let object = slab.kmalloc(64, How::KERNEL).unwrap();
    kfree(&slab, further(object, 8));
    let mut problems = Vec::new();
    slab.each_cache(|cache| problems.extend(cache.last_violation().map(|report| report.problem)));
    assert_eq!(problems, [Problem::NotAnObject]);
    kfree(&slab, object);

    let large = slab.kmalloc(10_000, How::KERNEL).unwrap();
    kfree(&slab, large);
    kfree(&slab, large);
    let mut count = 0;
    slab.each_cache(|cache| count += cache.violations());
    assert_eq!(count, 2, "a large double free is found");
    gone(slab);
}

#[test]
fn objects_in_use_when_the_cache_goes_are_reported_and_stay() {
    let slab = slab(Debug::empty());
    let phys = slab.phys().clone();
    let object = slab.kmalloc(64, How::KERNEL).unwrap();
    fill(object, 64, 3);
    drop(slab);
    assert_eq!(bytes(object, 64), [3; 64]);
    assert_eq!(testing::audit(&phys).allocated, 1);
}
