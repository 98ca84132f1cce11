//! What Foliant promises of its object allocator.

use std::fmt;

use super::workloads::Times;
use super::{MIMALLOC, TALC};

/// Foliant's time by mimalloc's, at most so much.
const TO_MIMALLOC: &[(&str, f64)] = &[("pair", 1.0), ("random free", 1.5), ("remote free", 1.0)];

/// Talc's time by Foliant's on two threads, at least so much.
const TO_TALC: &[(&str, f64)] = &[("pair", 20.0)];

/// What a gate's number may be.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One promise, and what was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Gate {
    what: String,
    bound: Bound,
    measured: f64,
}

impl Gate {
    /// Whether the promise was kept.
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.measured <= most,
            Bound::AtLeast(least) => self.measured >= least,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds() { "holds " } else { "MISSED" };
        let (sign, bound) = match self.bound {
            Bound::AtMost(most) => ("<=", most),
            Bound::AtLeast(least) => (">=", least),
        };
        write!(f, "{word}  {} {sign} {bound:.1}: {:.2}", self.what, self.measured)
    }
}

/// Every gate whose row was measured.
pub fn gates(times: &[Times]) -> Vec<Gate> {
    let mut gates = Vec::new();
    for row in times {
        let what = |peer: &str| format!("{}, {} threads, to {peer}", row.what, row.threads);
        if let Some((_, most)) = TO_MIMALLOC.iter().find(|(name, _)| *name == row.what) {
            gates.push(Gate {
                what: what(MIMALLOC),
                bound: Bound::AtMost(*most),
                measured: row.ours / row.mimalloc,
            });
        }
        let talc = TO_TALC.iter().find(|(name, _)| *name == row.what);
        if let Some((_, least)) = talc.filter(|_| row.threads == 2) {
            gates.push(Gate {
                what: format!("{}, {} threads, {TALC} by ours", row.what, row.threads),
                bound: Bound::AtLeast(*least),
                measured: row.talc / row.ours,
            });
        }
    }
    gates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &'static str, threads: usize, ours: f64, mimalloc: f64, talc: f64) -> Times {
        Times {
            what,
            threads,
            ours,
            kfree: ours,
            mimalloc,
            talc,
        }
    }

    #[test]
    fn a_slower_pair_is_a_missed_gate() {
        let kept = gates(&[row("pair", 1, 4.0, 5.0, 30.0)]);
        assert!(kept.len() == 1 && kept[0].holds());
        let missed = gates(&[row("pair", 2, 6.0, 5.0, 30.0)]);
        assert!(missed.len() == 2 && missed.iter().all(|gate| !gate.holds()));
        assert!(missed[0].to_string().starts_with("MISSED"));
    }

    #[test]
    fn rows_without_a_promise_have_no_gate() {
        assert!(gates(&[row("mixed sizes", 1, 9.0, 1.0, 1.0)]).is_empty());
    }
}
