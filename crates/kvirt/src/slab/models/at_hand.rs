//! The area of a CPU that threads share, and requests to drain it.

use foliant_platform::sync::Arc;
use loom::thread;

use super::super::batch::Holds;
use super::super::cpu::{CpuArea, CpuGuard};
use super::super::mutant::Mutant;
use super::holds_and_catches;
use super::world::{Shared, Word, number, object};

/// An area with objects 0 to `count`, each with a word that its owner uses.
struct World {
    area: CpuArea,
    words: [Word; 2],
}

impl World {
    fn with_objects(count: usize) -> Arc<Self> {
        let world = Self {
            area: CpuArea::default(),
            words: Default::default(),
        };
        world.area.allow(4);
        (0..count).for_each(|at| assert!(world.area.push_more(object(at))));
        Arc::new(world)
    }

    /// Takes an object, uses it, and gives it back if told to; a bit for what
    /// it kept.
    fn visit(&self, keep: bool) -> u32 {
        let Some(object) = self.area.quick_pop::<Shared>() else {
            return 0;
        };
        let word = &self.words[number(object)];
        word.write(word.read() + 1);
        if !keep && self.area.quick_push::<Shared>(object) {
            return 0;
        }
        1 << number(object)
    }
}

#[test]
fn loom_those_who_meet_on_a_cpu_do_not_get_the_same_object() {
    holds_and_catches(
        || {
            let one = World::with_objects(2);
            let two = one.clone();
            let other = thread::spawn(move || two.visit(false) | two.visit(true));
            let mine = one.visit(true);
            let theirs = other.join().unwrap();
            let left: u32 = one.area.iter().map(|object| 1 << number(object)).sum();
            assert_eq!(mine & theirs, 0, "an object was given to both");
            assert_eq!((mine | theirs) & left, 0, "an object was given and kept");
            assert_eq!(mine | theirs | left, 0b11, "an object was lost");
        },
        &[Mutant::EnterAnyway],
    );
}

/// What shrinking does to the area of another CPU: takes all, or asks for it.
/// A bit for each object that it got; `None` if it asked.
fn shrink(world: &World) -> Option<u32> {
    let Some(guard) = CpuGuard::enter_other(&Shared, &world.area) else {
        world.area.want_drain();
        return None;
    };
    let oldest = guard.area.take_oldest(usize::MAX).iter();
    let objects = oldest.filter_map(Holds::object).chain(guard.area.take_hot());
    let objects = objects.map(number);
    let got = objects
        .inspect(|&at| world.words[at].write(9))
        .map(|at| 1 << at)
        .sum();
    Some(got)
}

#[test]
fn loom_shrinking_takes_what_the_cpu_does_not() {
    holds_and_catches(
        || {
            let one = World::with_objects(2);
            let two = one.clone();
            let other = thread::spawn(move || shrink(&two));
            let mine = one.visit(true) | one.visit(false);
            let got = other.join().unwrap();
            let theirs = got.unwrap_or(0);
            let left: u32 = one.area.iter().map(|object| 1 << number(object)).sum();
            assert_eq!(mine & theirs, 0, "an object was given to both");
            assert_eq!((mine | theirs) & left, 0, "an object was given and kept");
            assert_eq!(mine | theirs | left, 0b11, "an object was lost");
            assert_eq!(got.is_none(), one.area.is_drain_wanted(), "a request was lost");
        },
        &[Mutant::EnterAnyway],
    );
}
