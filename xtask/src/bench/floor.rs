//! What the host charges for a round trip, whoever answers: the floor of every row.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tree;

/// Builds and runs the `round_trips` example of `foliant-user`.
pub(super) struct Probe {
    program: PathBuf,
    cpu: Option<u32>,
}

/// Medians in ticks, with a supervisor that does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Floor {
    /// A system call that is answered by notification.
    pub(super) notified: u64,
    /// A system call that comes by a signal, with its registers.
    pub(super) signalled: u64,
    /// A page fault that maps one page.
    pub(super) fault: u64,
}

impl Probe {
    pub(super) fn build(root: &std::path::Path, cpu: Option<u32>) -> Result<Self> {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--package",
                "foliant-user",
                "--example",
                "round_trips",
            ])
            .current_dir(root)
            .status()
            .context("cargo")?;
        if !built.success() {
            bail!("the round_trips example does not build");
        }
        Ok(Self {
            program: tree::target()?.join("release/examples/round_trips"),
            cpu,
        })
    }

    pub(super) fn run(&self) -> Result<Floor> {
        let mut command = match self.cpu {
            Some(cpu) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &cpu.to_string()]).arg(&self.program);
                taskset
            }
            None => Command::new(&self.program),
        };
        let output = command.output().context("round_trips")?;
        Floor::parse(&String::from_utf8_lossy(&output.stdout)).context("round_trips printed no medians")
    }
}

impl Floor {
    fn parse(text: &str) -> Option<Self> {
        let median = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            let (_, rest) = line.split_once(" median ")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            notified: median("notified call")?,
            signalled: median("call by signal")?,
            fault: median("fault, 1 page")?,
        })
    }

    /// The median of each number.
    pub(super) fn median(all: &[Self]) -> Option<Self> {
        let middle = |pick: fn(&Self) -> u64| {
            let mut values: Vec<u64> = all.iter().map(pick).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            notified: middle(|floor| floor.notified)?,
            signalled: middle(|floor| floor.signalled)?,
            fault: middle(|floor| floor.fault)?,
        })
    }

    /// What a row of mmops cannot be cheaper than, where one trap is all of it.
    pub(super) fn of(&self, row: &str) -> Option<u64> {
        match row {
            "64K run, fault-around" | "64K run, anon" => Some(self.fault),
            _ if row.contains(" fault") => Some(self.fault),
            "mmap+munmap 4K" => Some(self.notified + self.signalled),
            "mmap+touch+munmap 4K" => Some(self.notified + self.signalled + self.fault),
            _ => None,
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the host's bare round trips, with a supervisor that does nothing (median ticks): \
             notified call {}, call by signal {}, fault that maps a page {}",
            self.notified, self.signalled, self.fault
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
notified call (getppid)        median   16020  mean   56123  p99   42953
call by signal (brk)           median   23895  mean   78151  p99  500962
fault, 1 page a mapping        median   39825  mean  160818  p99 6182888
fault, 16 pages a mapping      median      23  mean   10000  p99   45675
";

    #[test]
    fn the_medians_are_found_and_belong_to_rows() {
        let floor = Floor::parse(OUTPUT).unwrap();
        assert_eq!(floor.of("mmap+munmap 4K"), Some(16_020 + 23_895));
        assert_eq!(floor.of("getpid"), None, "it makes no round trip");
        assert_eq!(floor.of("anon write fault"), Some(39_825));
        assert_eq!(floor.of("fork+exit+wait"), None);
        assert_eq!(Floor::parse("nothing"), None);
    }
}
