//! Models of every protocol here, run under loom.
//!
//! Each model is a small piece of the real code driven by two or three threads
//! through all of their interleavings (within a bound on preemptions), with an
//! assertion at the end. Each is also run with mistakes seeded into the code
//! (see [`Mutant`]), and must notice every one.
#![allow(clippy::unwrap_used)]

mod at_hand;
mod depot;
mod heap;
mod limbo;
mod shards;
mod world;

use super::mutant::{Mutant, survives};

/// Runs `model` through its interleavings.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Checks that the model holds, and that it fails with each mutant.
fn holds_and_catches<F: Fn() + Sync + Send + Copy + 'static>(model: F, mutants: &[Mutant]) {
    explore(model);
    for &mutant in mutants {
        assert!(!survives(mutant, || explore(model)), "{mutant:?} went unnoticed");
    }
}
