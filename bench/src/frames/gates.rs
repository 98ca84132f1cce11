//! What Foliant promises of its frame allocator.

use std::fmt;

use super::{LLFREE, Placement};
use crate::row::Row;

/// Foliant's time by LLFree's, at most so much.
const RATIOS: &[(&str, usize, f64)] = &[
    ("pair, order 0", 1, 0.25),
    ("pair, order 1", 1, 0.25),
    ("pair, order 2", 1, 0.25),
    ("pair, order 3", 1, 0.25),
    ("pair, order 9", 1, 0.3),
    ("bulk alloc, order 0", 1, 0.5),
    ("bulk free, order 0", 1, 0.5),
    ("random free, order 0", 1, 1.0),
    ("random free, order 0", 2, 0.6),
    ("churn", 1, 0.5),
    ("free from another CPU", 2, 0.3),
    ("bulk alloc, order 9", 1, 0.7),
    ("bulk free, order 9", 1, 0.9),
];

/// Rows that cost two threads hardly more than one.
const SCALING: &[&str] = &[
    "pair, order 0",
    "pair, order 3",
    "pair, order 9",
    "bulk alloc, order 0",
    "bulk free, order 0",
];
/// At most so much more.
const SCALES: f64 = 1.15;

/// At least this part of the free frames lies in whole blocks.
const WHOLE: f64 = 0.45;

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
    /// `None` if it could not be checked.
    measured: Option<f64>,
}

impl Gate {
    /// Whether the promise was kept. What could not be checked was not broken.
    pub fn holds(&self) -> bool {
        match (self.bound, self.measured) {
            (_, None) => true,
            (Bound::AtMost(most), Some(value)) => value <= most,
            (Bound::AtLeast(least), Some(value)) => value >= least,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, bound, .. } = self;
        let (word, bound) = match bound {
            Bound::AtMost(most) => ("<=", most),
            Bound::AtLeast(least) => (">=", least),
        };
        match self.measured {
            None => write!(f, "not checked  {what} {word} {bound:.2}: no {LLFREE}"),
            Some(value) if self.holds() => write!(f, "holds        {what} {word} {bound:.2}: {value:.2}"),
            Some(value) => write!(f, "MISSED       {what} {word} {bound:.2}: {value:.2}"),
        }
    }
}

/// Every gate with what the measurements say about it.
pub fn gates(rows: &[Row], placements: &[Placement]) -> Vec<Gate> {
    let row = |what: &str, threads, peer: &str| {
        rows.iter()
            .find(|row| (row.what, row.threads, row.peer) == (what, threads, peer))
    };
    let mut gates = Vec::new();
    for &(what, threads, most) in RATIOS {
        gates.push(Gate {
            what: format!("{what}, {threads} threads, by {LLFREE}"),
            bound: Bound::AtMost(most),
            measured: row(what, threads, LLFREE).map(Row::ratio),
        });
    }
    for &what in SCALING {
        let ours = |threads| {
            rows.iter()
                .find(|row| (row.what, row.threads) == (what, threads))
                .map(|row| row.ours)
        };
        gates.push(Gate {
            what: format!("{what}, two threads by one"),
            bound: Bound::AtMost(SCALES),
            measured: ours(2).zip(ours(1)).map(|(two, one)| two / one),
        });
    }
    gates.push(Gate {
        what: "whole blocks of what is free".to_owned(),
        bound: Bound::AtLeast(WHOLE),
        measured: placements.first().map(|ours| ours.whole),
    });
    gates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_without_its_peer_is_neither_kept_nor_broken() {
        let gates = gates(&[], &[]);
        assert!(gates.iter().all(Gate::holds));
        assert!(gates[0].to_string().starts_with("not checked"));
    }

    #[test]
    fn a_ratio_above_the_bound_is_a_missed_gate() {
        let row = |ours| Row {
            what: "churn",
            threads: 1,
            peer: LLFREE,
            ours,
            theirs: 10.0,
        };
        let churn = |row| {
            gates(&[row], &[])
                .into_iter()
                .find(|gate| gate.measured.is_some())
        };
        assert_eq!(churn(row(4.0)).map(|gate| gate.holds()), Some(true));
        assert_eq!(churn(row(6.0)).map(|gate| gate.holds()), Some(false));
    }
}
