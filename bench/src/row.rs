//! One line of a report.

use std::fmt;

/// One operation, measured on Foliant and on a peer.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// On how many threads.
    pub threads: usize,
    /// With whom it is compared.
    pub peer: &'static str,
    /// Nanoseconds per operation, the median of some rounds.
    pub ours: f64,
    /// The same of the peer.
    pub theirs: f64,
}

impl Row {
    /// How much of the peer's time Foliant takes.
    pub fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            threads,
            peer,
            ours,
            theirs,
        } = self;
        let ratio = self.ratio();
        // A hundredth would say nothing of what is far ahead.
        let digits = if ratio < 0.05 { 5 } else { 2 };
        write!(
            f,
            "{what:<24} {threads:>2}  {ours:>9.1}  {theirs:>11.1}  {ratio:>7.digits$}  {peer}"
        )
    }
}

/// Prints rows under a heading.
pub fn print(rows: &[Row]) {
    println!(
        "{:<24} {:>2}  {:>9}  {:>11}  {:>7}  peer",
        "operation", "th", "ours ns", "peer ns", "ratio"
    );
    for row in rows {
        println!("{row}");
    }
}
