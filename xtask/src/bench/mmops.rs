//! What bench/mmops.c prints, and the median over several runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Flags that make mmops a freestanding static program.
const FLAGS: &[&str] = &[
    "-O2",
    "-static",
    "-nostdlib",
    "-nostartfiles",
    "-ffreestanding",
    "-fno-pic",
    "-no-pie",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-mno-sse",
];

/// Builds mmops below `folder`.
pub(super) fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let program = folder.join("mmops");
    let mut gcc = Command::new("gcc");
    gcc.args(FLAGS)
        .arg("-o")
        .arg(&program)
        .arg(root.join("bench/mmops.c"));
    let status = gcc
        .status()
        .context("gcc is needed to build bench/mmops.c (apt-get install gcc)")?;
    if !status.success() {
        bail!("gcc could not build bench/mmops.c");
    }
    Ok(program)
}

/// One operation of one run, in TSC ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) mean: u64,
    pub(super) median: u64,
    /// Of several runs, the lowest median: what the processor can do when
    /// nobody disturbs it.
    pub(super) best: u64,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// Whether the closing line was there.
    pub(super) complete: bool,
}

impl Report {
    /// Reads mmops' output; other lines between its lines are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let Some(line) = line.trim_end().strip_prefix("mmops ") else {
                continue;
            };
            if line.starts_with('#') {
                report.complete |= line.starts_with("# end tsc");
            } else {
                report.rows.extend(row(line));
            }
        }
        report
    }

    /// The row with this name.
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// Reads `name  mean min median p99 max n`; the name may hold spaces.
fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, numbers) = words.split_at(words.len().checked_sub(6)?);
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    Some(Row {
        name: name.join(" "),
        mean: numbers[0],
        median: numbers[2],
        best: numbers[2],
    })
}

/// The median of each row over several runs; rows that some run lacks are left out.
pub(super) fn median(runs: &[Report]) -> Report {
    let Some((first, rest)) = runs.split_first() else {
        return Report::default();
    };
    let mut rows = Vec::new();
    for row in &first.rows {
        let others: Option<Vec<&Row>> = rest.iter().map(|run| run.row(&row.name)).collect();
        let Some(mut all) = others else { continue };
        all.push(row);
        let middle = |pick: fn(&Row) -> u64| {
            let mut values: Vec<u64> = all.iter().map(|row| pick(row)).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        rows.push(Row {
            name: row.name.clone(),
            mean: middle(|row| row.mean),
            median: middle(|row| row.median),
            best: all.iter().map(|row| row.best).min().unwrap_or(0),
        });
    }
    Report {
        rows,
        complete: runs.iter().all(|run| run.complete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
boot noise
mmops # rdtsc pair 22
mmops getpid                        60317    43155    48511   109778  6158678  1000
mmops mmap+munmap 4K               389761   233640   283500  3284933 22571776  1000
mmops THP n/a errno 22
mmops # end tsc 5672517617588 elapsed 6884773560
";

    #[test]
    fn names_with_spaces_and_missing_operations_are_read() {
        let report = Report::parse(OUTPUT);
        assert!(report.complete);
        assert_eq!(report.rows.len(), 2);
        assert_eq!(report.row("mmap+munmap 4K").unwrap().median, 283_500);
    }

    #[test]
    fn the_median_leaves_out_what_one_run_lacks() {
        let whole = Report::parse(OUTPUT);
        let short = Report::parse("mmops getpid 1 1 1 1 1 1\n");
        let both = median(&[whole.clone(), short.clone(), whole]);
        assert_eq!(both.rows.len(), 1);
        assert_eq!(both.rows[0].median, 48_511);
        assert!(!both.complete);
    }
}
