//! The laws of frame allocators, applied.
#![cfg(not(loom))]

use foliant_laws::frames::{Foliant, Naive, obeys};
use foliant_phys::boot::Poison;
use foliant_phys::{BootOptions, testing};

/// Poisoning has its own tests; here it would only take time.
fn options() -> BootOptions {
    BootOptions {
        poison: Poison::Off,
        ..BootOptions::test()
    }
}

#[test]
fn the_model_obeys() {
    obeys(&mut Naive::new(3000), 1, 1000);
}

#[test]
fn a_tiny_machine_obeys() {
    for seed in 0..10 {
        obeys(&mut Foliant::new(testing::boot_with(64, 1, options())), seed, 600);
    }
}

#[test]
fn a_machine_of_some_blocks_obeys() {
    for seed in 0..2 {
        obeys(
            &mut Foliant::new(testing::boot_with(6 * 512, 1, options())),
            seed,
            1000,
        );
    }
}

#[test]
fn a_machine_with_two_zones_obeys() {
    obeys(
        &mut Foliant::new(testing::boot_with(12 * 512, 1, options())),
        5,
        1000,
    );
}

#[test]
fn a_machine_whose_cpus_are_shared_obeys() {
    for seed in 0..2 {
        obeys(
            &mut Foliant::new(testing::boot_shared(5 * 512, 4, options())),
            seed,
            800,
        );
    }
}

#[test]
fn a_machine_with_a_movable_zone_obeys() {
    let options = BootOptions {
        movable: 4 << 20,
        ..options()
    };
    obeys(
        &mut Foliant::new(testing::boot_with(6 * 512, 1, options)),
        6,
        1000,
    );
}
