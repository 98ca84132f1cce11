//! What Foliant promises for page tables.

use crate::row::Row;

/// A row and how much of the better peer's time it may take.
const GATES: &[(&str, f64)] = &[
    ("map, exclusive", 0.3),
    ("protect, exclusive", 0.3),
    ("unmap, exclusive", 0.3),
    ("translate, random", 0.9),
    ("map one, random", 0.8),
    ("map one, sparse", 0.8),
];

/// How much longer two threads on one space may take than one.
const TOGETHER: f64 = 1.15;

/// Every gate that is missed, one sentence each.
pub fn missed(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    for (what, most) in GATES {
        let ratio = rows.iter().find(|row| row.what == *what).map(Row::ratio);
        // Not measured is missed.
        if ratio.is_none_or(|ratio| ratio.is_nan() || ratio > *most) {
            let ratio = ratio.unwrap_or(f64::NAN);
            missed.push(format!("{what}: {ratio:.2} of the better peer, at most {most}"));
        }
    }
    let shared = |threads| {
        rows.iter()
            .find(|row| row.what == "map and unmap" && row.threads == threads)
    };
    if let (Some(one), Some(two)) = (shared(1), shared(2)) {
        let ratio = two.ours / one.ours;
        if ratio.is_nan() || ratio > TOGETHER {
            missed.push(format!(
                "two threads on one space: {ratio:.2} of one, at most {TOGETHER}"
            ));
        }
    }
    missed
}
