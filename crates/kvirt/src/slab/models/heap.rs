//! The numbers of caches, and what a heap begins with.

use core::alloc::Layout;

use foliant_platform::sync::Arc;
use loom::thread;

use super::super::early::EarlyCursor;
use super::super::installed::Installed;
use super::super::mutant::Mutant;
use super::super::places::Places;
use super::holds_and_catches;
use super::world::Word;

#[test]
fn loom_two_caches_that_are_made_at_once_have_different_numbers() {
    holds_and_catches(
        || {
            let one = Arc::new(Places::new(2));
            let make = |places: &Places<u32>, name: u32| {
                let (number, _) = places.claim().unwrap();
                let made = alloc::sync::Arc::new(name);
                places.fill(number, &made);
                (number, made)
            };
            let two = one.clone();
            let other = thread::spawn(move || make(&two, 2));
            let mine = make(&one, 1);
            for (number, made) in [mine, other.join().unwrap()] {
                assert_eq!(one.get(number), Some(made), "objects would go to the wrong cache");
            }
        },
        &[Mutant::PlaceNotClaimed],
    );
}

#[test]
fn loom_early_bytes_are_handed_out_once() {
    holds_and_catches(
        || {
            let one = Arc::new(EarlyCursor::new());
            let take = |cursor: &EarlyCursor| cursor.take(Layout::new::<u64>(), 16).unwrap();
            let two = one.clone();
            let other = thread::spawn(move || take(&two));
            let mine = take(&one);
            assert_ne!(mine, other.join().unwrap());
            assert_eq!((one.taken(), one.take(Layout::new::<u8>(), 16)), (16, None));
        },
        &[Mutant::EarlyInTwoSteps],
    );
}

#[test]
fn loom_one_value_is_installed_and_found_whole() {
    holds_and_catches(
        || {
            let value = |number| {
                let word = Word::default();
                word.write(number);
                word
            };
            let one = Arc::new(Installed::nothing());
            let (two, three) = (one.clone(), one.clone());
            let other = thread::spawn(move || two.install(value(2)).1);
            let reader = thread::spawn(move || three.get().map_or(0, Word::read));
            let mine = one.install(value(1)).1;
            assert!(mine != other.join().unwrap(), "one of them was first");
            let (seen, there) = (reader.join().unwrap(), one.get().map_or(0, Word::read));
            assert!(seen == 0 || seen == there, "the value was replaced");
        },
        &[Mutant::InstallOver, Mutant::InstallRelaxed],
    );
}
