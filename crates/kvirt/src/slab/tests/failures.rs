//! Frames that are not there.

use alloc::vec::Vec;

use foliant_phys::testing;

use super::super::{CacheSpec, Debug, How, Slab, SlabError};
use super::{audit, kfree, strict};

/// Some of everything; gives up at the first error.
fn script(slab: &Slab<foliant_platform::testing::TestPlatform>) -> Result<(), SlabError> {
    let mut held = Vec::new();
    let mut outcome = Ok(());
    'all: for size in [8, 64, 96, 700, 5000, 9000, 64, 64] {
        for _ in 0..20 {
            match slab.kmalloc(size, How::KERNEL) {
                Ok(object) => held.push(object),
                Err(error) => {
                    outcome = Err(error);
                    break 'all;
                }
            }
        }
    }
    held.into_iter().for_each(|object| kfree(slab, object));
    outcome?;
    let cache = slab.create(CacheSpec::new("script", 300))?;
    let object = cache.alloc(How::KERNEL)?;
    kfree(slab, object);
    Ok(())
}

#[test]
fn whichever_frame_is_missing_nothing_is_lost() {
    for debug in [Debug::empty(), Debug::all()] {
        let mut nth = 1;
        loop {
            let phys = testing::boot(600);
            phys.fail_at(nth);
            let complete = match Slab::new(phys.clone(), strict(debug)) {
                Err(error) => {
                    assert!(matches!(error, SlabError::NoFrame(_)));
                    false
                }
                Ok(slab) => {
                    let complete = script(&slab).is_ok();
                    assert_eq!(audit(&slab).in_use, 0);
                    // What failed once succeeds now.
                    phys.fail_at(0);
                    script(&slab).unwrap();
                    complete
                }
            };
            testing::assert_all_free(&phys);
            if complete {
                break;
            }
            nth += 1;
        }
        assert!(nth > 10, "the script allocates");
    }
}

#[test]
fn the_last_object_is_found_wherever_it_is() {
    let slab = Slab::new(testing::boot(64), strict(Debug::empty())).unwrap();
    let mut held = Vec::new();
    while let Ok(object) = slab.kmalloc(512, How::NOWAIT) {
        held.push(object);
    }
    let all = held.len();
    for _ in 0..3 {
        held.drain(..).for_each(|object| kfree(&slab, object));
        held.extend(core::iter::from_fn(|| slab.kmalloc(512, How::NOWAIT).ok()));
        assert_eq!(held.len(), all);
    }
    held.drain(..).for_each(|object| kfree(&slab, object));
    super::gone(slab);
}
