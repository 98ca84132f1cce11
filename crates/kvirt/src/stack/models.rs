//! The cache of stacks under `loom`, with mistakes that must be caught.
#![allow(clippy::unwrap_used)]

extern crate std;

use foliant_platform::sync::Arc;
use foliant_units::VirtAddr;
use loom::thread;

use super::cache::StackCache;
use crate::mutant::{Mutant, holds_and_catches};

const ONE: VirtAddr = VirtAddr::new(0x1000);
const TWO: VirtAddr = VirtAddr::new(0x2000);

#[test]
fn loom_a_cached_stack_goes_to_one_task() {
    holds_and_catches(
        || {
            let cache = Arc::new(StackCache::default());
            cache.keep(ONE).unwrap();
            let other = cache.clone();
            let thread = thread::spawn(move || other.take());
            let mine = cache.take();
            let theirs = thread.join().unwrap();
            assert!(mine.is_some() != theirs.is_some(), "{mine:?} and {theirs:?}");
        },
        &[Mutant::StackInTwoSteps],
    );
}

#[test]
fn loom_no_stack_is_lost_when_two_are_kept_at_once() {
    holds_and_catches(
        || {
            let cache = Arc::new(StackCache::default());
            let other = cache.clone();
            let thread = thread::spawn(move || other.keep(ONE));
            cache.keep(TWO).unwrap();
            thread.join().unwrap().unwrap();
            assert_eq!(cache.len(), 2);
        },
        &[Mutant::StackOverwritten],
    );
}
