//! Which caches there are, by number.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use foliant_platform::sync::SpinLock;

use super::mutant::{Mutant, is_on};

/// What a number stands for.
pub(crate) enum Place<T> {
    /// Nothing yet.
    Free,
    /// Something that is being made.
    Claimed,
    /// Something, for as long as somebody else has it.
    Made(Weak<T>),
}

impl<T> Place<T> {
    fn is_free(&self) -> bool {
        match self {
            Place::Free => true,
            Place::Claimed => false,
            Place::Made(made) => made.strong_count() == 0,
        }
    }
}

/// A fixed number of places.
///
/// A number is claimed before what it stands for is made, which allocates and
/// may wait, so that nobody else makes something of the same number meanwhile.
///
/// # Locking
/// A spin lock, with nothing called under it. What was in a place is handed to
/// the caller, to be dropped outside: the heap may be what is in the places.
pub(crate) struct Places<T>(SpinLock<Box<[Place<T>]>>);

impl<T> Places<T> {
    pub(crate) fn new(count: usize) -> Self {
        Self(SpinLock::new((0..count).map(|_| Place::Free).collect()))
    }

    /// A number that stands for nothing, which is the caller's to
    /// [fill](Self::fill) or to [give up](Self::give_up), and what was there.
    pub(crate) fn claim(&self) -> Option<(usize, Place<T>)> {
        let mut places = self.0.lock();
        let number = places.iter().position(Place::is_free)?;
        if is_on(Mutant::PlaceNotClaimed) {
            return Some((number, Place::Free));
        }
        let gone = core::mem::replace(&mut places[number], Place::Claimed);
        Some((number, gone))
    }

    /// What a claimed number stands for.
    pub(crate) fn fill(&self, number: usize, made: &Arc<T>) {
        let made = Arc::downgrade(made);
        let claimed = core::mem::replace(&mut self.0.lock()[number], Place::Made(made));
        drop(claimed);
    }

    /// Nothing was made of a claimed number.
    pub(crate) fn give_up(&self, number: usize) {
        self.0.lock()[number] = Place::Free;
    }

    /// What a number stands for, if that lives.
    pub(crate) fn get(&self, number: usize) -> Option<Arc<T>> {
        match self.0.lock().get(number)? {
            Place::Made(made) => made.upgrade(),
            Place::Free | Place::Claimed => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_again_when_what_it_stood_for_is_gone() {
        let places = Places::new(2);
        let claim = || places.claim().map(|(number, _)| number);
        assert_eq!((claim(), claim(), claim()), (Some(0), Some(1), None));
        let made = Arc::new(7);
        places.fill(0, &made);
        assert_eq!((claim(), places.get(0)), (None, Some(made.clone())));
        drop(made);
        places.give_up(1);
        assert_eq!((claim(), claim(), places.get(0)), (Some(0), Some(1), None));
    }
}
