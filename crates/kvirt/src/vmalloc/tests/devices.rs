//! Devices' memory that is mapped more than once.
#![allow(clippy::unwrap_used)]

use alloc::string::ToString;

use foliant_units::Errno;

use super::*;

fn device(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(DEVICE + start), PhysAddr::new(DEVICE + end))
}

fn mode(world: &World, at: VirtAddr) -> CacheMode {
    let (leaf, level) = world.leaf(at);
    X86_64::cache_mode(leaf, level)
}

#[test]
fn a_second_mapping_is_cached_as_the_first_or_refused() {
    let world = world(Purging::Lazy);
    let ioremap = |range, mode| world.vmalloc.ioremap(range, mode);
    let first = ioremap(device(0x10, 0x1800), CacheMode::WriteCombining).unwrap();
    let second = ioremap(device(0x1ff0, 0x3000), CacheMode::UncachedMinus).unwrap();
    assert_eq!(mode(&world, second), CacheMode::WriteCombining);
    let through = ioremap(device(0, 1), CacheMode::WriteThrough);
    let refused = VmallocError::CacheMode(CacheMode::WriteCombining);
    assert_eq!((through, refused.errno()), (Err(refused), Errno::INVAL));
    let beside = ioremap(device(0x3000, 0x4000), CacheMode::Uncached).unwrap();
    assert_eq!(mode(&world, beside), CacheMode::Uncached);
    let over_both = ioremap(device(0x2000, 0x4000), CacheMode::Uncached);
    let refused = VmallocError::CacheModes;
    assert_eq!((over_both, refused.errno()), (Err(refused), Errno::BUSY));
    assert_eq!(
        world.vmalloc.cache_modes().to_string(),
        "PAT memtype list:\n\
         PAT: [mem 0x0000004000000000-0x0000004000002000] write-combining\n\
         PAT: [mem 0x0000004000001000-0x0000004000003000] write-combining\n\
         PAT: [mem 0x0000004000003000-0x0000004000004000] uncached\n"
    );
    // What is refused leaves nothing behind, and the text of areas is as ever.
    let areas = world.vmalloc.vmallocinfo().areas;
    assert_eq!(areas.len(), 3);
    assert!(areas.iter().all(|area| area.physical.is_some()));
    for at in [first, second, beside] {
        world.vmalloc.iounmap(at).unwrap();
    }
    world.end();
}

#[test]
fn a_mapping_that_ended_is_flushed_before_another_mode_is_had() {
    let world = world(Purging::Lazy);
    let range = device(0, 0x1000);
    let at = world.vmalloc.ioremap(range, CacheMode::WriteCombining).unwrap();
    world.vmalloc.iounmap(at).unwrap();
    assert_ne!(world.vmalloc.stats().unpurged, 0);
    let same = world.vmalloc.ioremap(range, CacheMode::WriteCombining).unwrap();
    assert_ne!(world.vmalloc.stats().unpurged, 0, "the same mode needs no flush");
    world.vmalloc.iounmap(same).unwrap();
    let other = world.vmalloc.ioremap(range, CacheMode::Uncached).unwrap();
    assert_eq!(world.vmalloc.stats().unpurged, 0);
    assert_eq!(mode(&world, other), CacheMode::Uncached);
    world.vmalloc.iounmap(other).unwrap();
    world.end();
}

#[test]
fn a_mapping_that_fails_is_forgotten() {
    let world = world(Purging::AtOnce);
    for nth in 1.. {
        world.phys.fail_at(nth);
        let mapped = world.vmalloc.ioremap(device(0, 0x5000), CacheMode::Uncached);
        world.phys.fail_at(0);
        match mapped {
            Ok(at) => {
                assert!(nth > 1);
                assert_eq!(world.vmalloc.cache_modes().iter().count(), 1);
                world.vmalloc.iounmap(at).unwrap();
                break;
            }
            Err(error) => assert!(matches!(error, VmallocError::NoTable(_)), "{error}"),
        }
        assert_eq!(world.vmalloc.cache_modes().iter().count(), 0);
    }
    assert_eq!(world.vmalloc.cache_modes().iter().count(), 0);
    world.end();
}
