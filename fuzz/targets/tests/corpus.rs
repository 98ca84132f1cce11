//! Every input that is kept, once: what was found stays fixed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use foliant_fuzz_targets::{TARGETS, Target};

/// No input may take longer, even where nothing is optimised.
const LONGEST: Duration = Duration::from_secs(30);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// Runs a target with the stack of a main thread.
fn runs(target: &'static Target, input: Vec<u8>) -> bool {
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    let thread = thread.spawn(move || (target.run)(&input)).unwrap();
    thread.join().is_ok()
}

#[test]
fn every_kept_input_is_harmless() {
    let mut inputs = 0;
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let mut kept = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())) {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let begin = Instant::now();
            assert!(runs(target, bytes), "{}", path.display());
            assert!(begin.elapsed() < LONGEST, "{} is slow", path.display());
            kept += 1;
        }
        assert!(kept > 0, "{} has no corpus", target.name);
        inputs += kept;
    }
    println!("{inputs} inputs of {} targets", TARGETS.len());
}

#[test]
fn every_corpus_has_a_target() {
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name}");
    }
}

#[test]
fn nothing_and_little_are_inputs_too() {
    for target in TARGETS {
        for len in [0, 1, 2, 7, 100] {
            for byte in [0, 1, 0x7f, 0xff] {
                assert!(
                    runs(target, vec![byte; len]),
                    "{}: {len} times {byte}",
                    target.name
                );
            }
        }
    }
}
