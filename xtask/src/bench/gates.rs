//! What Foliant promises for running programs, as multiples of native.

use super::floor::Floor;
use super::mmops::{Report, Row};

/// A row and how many times slower than native it may be.
struct Gate {
    row: &'static str,
    most: f64,
    /// Which number of the row counts.
    of: fn(&Row) -> u64,
}

const fn median(row: &'static str, most: f64) -> Gate {
    Gate {
        row,
        most,
        of: |row| row.median,
    }
}

/// In every row Foliant must also beat User-Mode Linux; these are the rows
/// with a bound of their own.
///
/// Of the two runs of 64 KiB the private one is bound: Foliant fills it by one
/// fault where a host with the usual settings takes sixteen. The shared one,
/// where one fault maps what is there already, is one fault natively too, so
/// it says what a trap costs, as the other faults do.
const GATES: &[Gate] = &[
    median("getpid", 45.0),
    median("anon write fault", 14.0),
    median("64K run, anon", 2.0),
    median("mmap+munmap 4K", 8.0),
    median("mmap+touch+munmap 4K", 10.0),
    median("fork+exit+wait", 6.0),
    // No operation at all: what counts is the best round of each.
    Gate {
        row: "loop 2000 insns",
        most: 1.05,
        of: |row| row.best,
    },
];

/// Rows that cost nothing but the processor's own work, in which a comparison
/// between two machines measures noise.
const NO_CONTEST: &[&str] = &["loop 2000 insns", "touch present page"];

/// Rows that touch one page after the other, where a peer may map pages that
/// were not touched yet.
const TOUCHES: &[&str] = &[
    "anon write fault",
    "anon read fault",
    "zero-page COW fault",
    "64K run, fault-around",
    "64K run, anon",
    "fork COW fault (child)",
    "fork COW reuse (parent)",
];

/// Whether a peer filled ahead in a row of touches: its median is less than
/// half of its own cheapest system call, so most touches did not trap.
///
/// Nobody who accounts every page as Linux does can win there: its trap alone
/// costs more. The gate for these rows compares means, and comes later.
fn filled_ahead(peer: &Report, row: &Row) -> bool {
    let call = peer.row("getpid").map_or(0, |call| call.median);
    TOUCHES.contains(&row.name.as_str()) && row.median * 2 < call
}

/// The peers' reports, as far as they took part.
pub(super) struct Results<'a> {
    pub(super) native: &'a Report,
    pub(super) foliant: &'a Report,
    pub(super) user_mode_linux: Option<&'a Report>,
    pub(super) gvisor: Option<&'a Report>,
    /// What a round trip costs on the host, whoever answers.
    pub(super) floor: Option<Floor>,
}

/// Every gate that is missed, one sentence each.
pub(super) fn missed(results: &Results<'_>) -> Vec<String> {
    let mut missed = Vec::new();
    if !results.foliant.complete {
        missed.push("mmops did not run to its end under Foliant".to_owned());
    }
    for gate in GATES {
        let (Some(native), Some(foliant)) = (results.native.row(gate.row), results.foliant.row(gate.row))
        else {
            missed.push(format!("{}: not measured", gate.row));
            continue;
        };
        let ratio = (gate.of)(foliant) as f64 / (gate.of)(native).max(1) as f64;
        if ratio > gate.most {
            let floor = results.floor.and_then(|floor| floor.of(gate.row));
            let floor = floor.map_or(String::new(), |ticks| {
                let least = ticks as f64 / (gate.of)(native).max(1) as f64;
                format!("; the host's bare round trip for it is {least:.2} times native ({ticks} ticks)")
            });
            missed.push(format!(
                "{}: {ratio:.2} times native, at most {}{floor}",
                gate.row, gate.most
            ));
        }
    }
    beaten(results, "User-Mode Linux", results.user_mode_linux, &mut missed);
    beaten(results, "gVisor", results.gvisor, &mut missed);
    missed
}

/// Rows in which gVisor filled ahead, and by what that is seen.
pub(super) fn ahead(results: &Results<'_>) -> Vec<String> {
    let Some(peer) = results.gvisor else {
        return Vec::new();
    };
    let call = peer.row("getpid").map_or(0, |call| call.median);
    let rows = peer.rows.iter().filter(|row| filled_ahead(peer, row));
    rows.map(|row| {
        format!(
            "{}: gVisor fills ahead: median {} ticks, mean {}, its own getpid {call}",
            row.name, row.median, row.mean
        )
    })
    .collect()
}

/// Rows in which a peer is faster than Foliant.
fn beaten(results: &Results<'_>, name: &str, peer: Option<&Report>, missed: &mut Vec<String>) {
    let Some(peer) = peer else { return };
    for theirs in &peer.rows {
        let row = theirs.name.as_str();
        if NO_CONTEST.contains(&row) || filled_ahead(peer, theirs) {
            continue;
        }
        let ours = results.foliant.row(row).map(|row| row.median);
        if ours.is_none_or(|ours| ours > theirs.median) {
            let ours = ours.map_or("nothing".to_owned(), |ticks| ticks.to_string());
            missed.push(format!("{row}: {ours} ticks, {name} {} ticks", theirs.median));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &str) -> Report {
        Report::parse(lines)
    }

    #[test]
    fn a_missed_bound_and_a_faster_peer_are_named() {
        let native = report("mmops getpid 1 1 100 1 1 1\n");
        let foliant = report("mmops getpid 1 1 5000 1 1 1\nmmops # end tsc 1 elapsed 1\n");
        let peer = report("mmops getpid 1 1 4999 1 1 1\n");
        let missed = missed(&Results {
            native: &native,
            foliant: &foliant,
            user_mode_linux: Some(&peer),
            gvisor: None,
            floor: None,
        });
        assert!(
            missed
                .iter()
                .any(|line| line.starts_with("getpid: 50.00 times native"))
        );
        assert!(
            missed
                .iter()
                .any(|line| line == "getpid: 5000 ticks, User-Mode Linux 4999 ticks")
        );
    }

    #[test]
    fn a_peer_whose_touches_do_not_trap_is_no_contest_in_those_rows() {
        let native = report("mmops getpid 1 1 1000 1 1 1\n");
        let foliant = report(
            "mmops getpid 1 1 100 1 1 1\nmmops anon write fault 1 1 400 1 1 1\n\
             mmops munmap 1 1 9 1 1 1\nmmops # end tsc 1 elapsed 1\n",
        );
        let peer = report(
            "mmops getpid 1 1 200 1 1 1\nmmops anon write fault 90 1 30 1 1 1\nmmops munmap 1 1 8 1 1 1\n",
        );
        let results = Results {
            native: &native,
            foliant: &foliant,
            user_mode_linux: None,
            gvisor: Some(&peer),
            floor: None,
        };
        let missed = missed(&results);
        assert!(missed.iter().any(|line| line.starts_with("munmap: 9 ticks")));
        assert!(!missed.iter().any(|line| line.contains("gVisor 30")));
        assert_eq!(ahead(&results).len(), 1);
    }
}
