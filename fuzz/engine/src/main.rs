//! All fuzz targets behind libFuzzer, in one program:
//! `foliant-fuzz --target=NAME FOLDER...`, with libFuzzer's own options.
//! `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use foliant_fuzz_targets::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// What libFuzzer's callbacks have no argument for.
static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(data);
    }
});

/// Finds the target that the command line names; libFuzzer skips what begins
/// with two hyphens.
fn choose() {
    let named = std::env::args().find_map(|word| word.strip_prefix("--target=").and_then(Target::named));
    if let Some(target) = named {
        let _once = TARGET.set(target);
        return;
    }
    for target in TARGETS {
        println!("{}\t{}\t{}", target.name, target.longest, target.what);
    }
    let asked = std::env::args().any(|word| word == "--list");
    std::process::exit(if asked { 0 } else { 2 });
}
