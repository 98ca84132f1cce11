//! Eight CPUs map, touch, protect, unmap, move and fork at once; every access
//! must show what a model says, and nothing may be left over.
//!
//! `FOLIANT_STORM_SECONDS` says how long (3 by default), `FOLIANT_STORM_SEED`
//! where to begin. The mutants show that each kind of flush is missed when it
//! is lost.
#![allow(clippy::unwrap_used)]

mod files;
mod model;
mod program;
mod world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foliant_platform::FlushKind;
use foliant_soft::{FlushStats, Forget};

use program::{Doing, Program, doing};
use world::World;

const CPUS: u32 = 8;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Storms for `time`, checking between rounds.
fn storm(time: Duration, seed: u64, forget: Forget, scarce: bool) -> Result<FlushStats, String> {
    let world = World::new(CPUS, forget, scarce);
    let outcome = rounds(&world, time, seed);
    let stats = world.machine.flush_stats();
    match outcome {
        Ok(()) => {
            let moved = world.migrated.load(Ordering::Relaxed);
            if moved == 0 {
                return Err("no frame was moved".to_owned());
            }
            world.end().map(|()| stats)
        }
        Err(why) => {
            // What a broken machine does when it is taken apart proves nothing.
            std::mem::forget(world);
            Err(why)
        }
    }
}

fn rounds(world: &World, time: Duration, seed: u64) -> Result<(), String> {
    let start = Instant::now();
    let mut round = seed;
    while start.elapsed() < time {
        let outcomes = world
            .machine
            .run(CPUS, |cpu| Program::new(world, cpu, round).run(cpu, 8));
        for (cpu, outcome) in outcomes.into_iter().enumerate() {
            outcome.map_err(|why| format!("round {round}, CPU {cpu}: {why}"))?;
        }
        world
            .check()
            .map_err(|why| format!("after round {round}: {why}"))?;
        round += 1;
    }
    Ok(())
}

#[test]
fn a_storm_leaves_no_stale_translation_no_frame_and_no_wrong_byte() {
    let time = Duration::from_secs(from_environment("FOLIANT_STORM_SECONDS", 3));
    let seed = from_environment("FOLIANT_STORM_SEED", 1);
    let stats = storm(time, seed, Forget::Nothing, false).unwrap();
    println!("{stats:?}");
    assert!(stats.dropped > 0 && stats.deferred > 0);
}

#[test]
fn a_storm_with_failing_allocations_leaves_everything_right_too() {
    let time = Duration::from_secs(from_environment("FOLIANT_STORM_SECONDS", 3));
    let seed = from_environment("FOLIANT_STORM_SEED", 1000);
    storm(time, seed, Forget::Nothing, true).unwrap();
}

/// Storms with the flushes lost until that is noticed.
fn is_noticed(forget: Forget) -> bool {
    let outcome = std::panic::catch_unwind(|| storm(Duration::from_secs(20), 1, forget, false));
    match outcome {
        Ok(Ok(_)) => false,
        Ok(Err(why)) => {
            println!("{forget:?}: {why}");
            true
        }
        Err(_) => true,
    }
}

#[test]
fn losing_the_flushes_of_any_one_call_is_noticed() {
    let calls: [(Doing, Forget); 10] = [
        (Doing::Mapping, Forget::When(|_| doing() == Doing::Mapping)),
        (Doing::Unmapping, Forget::When(|_| doing() == Doing::Unmapping)),
        (Doing::Protecting, Forget::When(|_| doing() == Doing::Protecting)),
        (Doing::Discarding, Forget::When(|_| doing() == Doing::Discarding)),
        (Doing::Moving, Forget::When(|_| doing() == Doing::Moving)),
        (Doing::Forking, Forget::When(|_| doing() == Doing::Forking)),
        (Doing::Migrating, Forget::When(|_| doing() == Doing::Migrating)),
        (Doing::Resizing, Forget::When(|_| doing() == Doing::Resizing)),
        (Doing::Syncing, Forget::When(|_| doing() == Doing::Syncing)),
        (Doing::Storing, Forget::When(|_| doing() == Doing::Storing)),
    ];
    for (call, forget) in calls {
        assert!(is_noticed(forget), "the flushes of {call:?} are not missed");
    }
}

#[test]
fn losing_any_kind_of_flush_is_noticed() {
    let removed = Forget::When(|what| what.kind == FlushKind::Removed);
    for forget in [removed, Forget::Demoted, Forget::FreedTables, Forget::LaterRanges] {
        assert!(is_noticed(forget), "{forget:?} is not missed");
    }
}
