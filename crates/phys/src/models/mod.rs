//! Models of every protocol here, run under loom.
//!
//! Each model is a small piece of the real code driven by two or three threads
//! through all of their interleavings (within a bound on preemptions), with an
//! assertion at the end. Each is also run with mistakes seeded into the code
//! (see [`Mutant`]), and must notice every one.

extern crate std;

mod blocks;
mod counts;
mod device;
mod guards;
mod lines;
mod records;
mod sections;
mod whole;
mod world;

use crate::mutant::{Mutant, survives};

/// Runs `model` through its interleavings with so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Checks that the model holds, and that it fails with each mutant.
fn holds_and_catches<F: Fn() + Sync + Send + Copy + 'static>(model: F, mutants: &[Mutant]) {
    within(3, model, mutants);
}

/// The same for models that take long.
fn within<F: Fn() + Sync + Send + Copy + 'static>(preemptions: usize, model: F, mutants: &[Mutant]) {
    explore(preemptions, model);
    for &mutant in mutants {
        assert!(
            !survives(mutant, || explore(preemptions, model)),
            "{mutant:?} went unnoticed"
        );
    }
}
