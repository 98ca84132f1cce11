//! Runs a sequence on both and finds where they part.

use crate::op::{Observed, Op};

/// Where two runs differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Index of the operation.
    pub at: usize,
    /// What Linux showed.
    pub linux: Observed,
    /// What Foliant showed.
    pub foliant: Observed,
}

/// The first difference of two runs of `ops`.
pub fn first_difference(linux: &[Observed], foliant: &[Observed]) -> Option<Difference> {
    linux
        .iter()
        .zip(foliant)
        .enumerate()
        .find(|(_, (one, two))| one != two)
        .map(|(at, (linux, foliant))| Difference {
            at,
            linux: linux.clone(),
            foliant: foliant.clone(),
        })
}

/// The shortest sequence found by leaving operations out that still differs.
pub fn shrink(ops: &[Op], differs: impl Fn(&[Op]) -> Option<Difference>) -> Vec<Op> {
    let mut best = ops.to_vec();
    if let Some(difference) = differs(&best) {
        best.truncate(difference.at + 1);
    }
    let mut chunk = (best.len() / 2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < best.len() {
            let mut candidate = best.clone();
            candidate.drain(at..(at + chunk).min(best.len()));
            match differs(&candidate) {
                Some(difference) => {
                    candidate.truncate(difference.at + 1);
                    best = candidate;
                    shorter = true;
                }
                None => at += chunk,
            }
        }
        if chunk == 1 && !shorter {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

/// A difference as text, with the operations that lead to it.
pub fn explain(ops: &[Op], difference: &Difference) -> String {
    use core::fmt::Write as _;
    let mut out = String::new();
    for op in &ops[..=difference.at] {
        let _ = writeln!(out, "  {op:?}");
    }
    for (who, seen) in [("linux", &difference.linux), ("foliant", &difference.foliant)] {
        let _ = writeln!(out, "{who}: {}, {} faults", seen.result, seen.faults);
        let pages: String = seen.pages.iter().map(|page| format!("{page:?}")).collect();
        let _ = writeln!(out, "    {pages}");
        for vma in &seen.vmas {
            let _ = writeln!(out, "    {vma:?}");
        }
    }
    out
}
