//! A short, fixed part of what `mmdiff` does without end.

use foliant_tests_linux::compare::{explain, first_difference, shrink};
use foliant_tests_linux::foliant::Foliant;
use foliant_tests_linux::generate::sequence;
use foliant_tests_linux::linux::{self, Linux};

#[test]
fn random_sequences_leave_what_linux_leaves() -> std::io::Result<()> {
    if !linux::is_reference() {
        eprintln!("skipped: the running kernel is not Linux 6.18 or newer");
        return Ok(());
    }
    let linux = Linux::new()?;
    let foliant = Foliant::like_this_process();
    let differs = |ops: &[_]| {
        let (seen, foreign) = linux.run(ops).unwrap_or_default();
        first_difference(&seen, &foliant.run(ops, &foreign))
    };
    for seed in 1..=40 {
        let ops = sequence(seed, 40, linux.is_fixed());
        if differs(&ops).is_some() {
            let short = shrink(&ops, differs);
            let text = differs(&short).map(|difference| explain(&short, &difference));
            panic!("seed {seed}:\n{}", text.unwrap_or_default());
        }
    }
    Ok(())
}
