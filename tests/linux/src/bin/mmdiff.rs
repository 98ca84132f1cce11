//! Compares Foliant's spaces with the live kernel's, without end.
//!
//! `mmdiff [FIRST_SEED [COUNT [OPERATIONS]]]`; stops at the first difference
//! and shows the shortest sequence that leads to it. Under `setarch -R` the
//! addresses that the kernel chooses are compared too.

use foliant_tests_linux::compare::{explain, first_difference, shrink};
use foliant_tests_linux::foliant::Foliant;
use foliant_tests_linux::generate::sequence;
use foliant_tests_linux::linux::Linux;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<u64>().unwrap_or(1));
    let first = args.next().unwrap_or(1);
    let count = args.next().unwrap_or(u64::MAX - first);
    let length = args.next().unwrap_or(60) as usize;
    let linux = Linux::new()?;
    let foliant = Foliant::like_this_process();
    let differs = |ops: &[_]| {
        let (seen, foreign) = linux.run(ops).unwrap_or_default();
        first_difference(&seen, &foliant.run(ops, &foreign))
    };
    for seed in first..first + count {
        let ops = sequence(seed, length, linux.is_fixed());
        if differs(&ops).is_some() {
            let short = shrink(&ops, differs);
            println!("seed {seed}:");
            if let Some(difference) = differs(&short) {
                print!("{}", explain(&short, &difference));
            }
            std::process::exit(1);
        }
        if (seed - first + 1) % 500 == 0 {
            eprintln!("{} sequences are equal", seed - first + 1);
        }
    }
    Ok(())
}
