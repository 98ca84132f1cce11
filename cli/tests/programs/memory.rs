//! Peak RssAnon and VmPTE equal those of the running kernel, faults nearly.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{build_c, installed, temporary};

/// What a run used.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Used {
    minor: u64,
    anon: u64,
    pte: u64,
}

/// The same, and small, wherever the test runs: it lies on the stack.
const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];

fn natively(measure: &Path, words: &[&str]) -> Used {
    let output = Command::new(measure)
        .args(words)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("measure");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said
        .lines()
        .rev()
        .find(|line| line.starts_with("measured"))
        .unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    Used {
        minor: numbers[0],
        anon: numbers[1],
        pte: numbers[2],
    }
}

fn on_foliant(words: &[&str]) -> Used {
    let file = temporary().join(format!("used-{}.json", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args([
            "run",
            "--no-aslr",
            "--report",
            &format!("json={}", file.display()),
            "--",
        ])
        .args(words)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("foliant");
    assert!(status.code().is_some());
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("the report")).expect("JSON");
    std::fs::remove_file(file).expect("the report");
    let process = &report["processes"][0];
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{process}"));
    Used {
        minor: number(&process["minor_faults"]),
        anon: number(&process["peak"]["anon"]),
        pte: number(&process["table_kib"]),
    }
}

/// Faults that a run may take more or fewer than natively, as docs/faults.md explains.
fn allowance(native: u64) -> u64 {
    8 + native / 33
}

/// RssAnon and VmPTE are equal; faults nearly so.
fn compare(words: &[&str]) {
    let Some(measure) = build_c("measure", &[]) else {
        return;
    };
    if !installed(words[0]) {
        return;
    }
    let ours = on_foliant(words);
    let mut native = Vec::new();
    for _ in 0..4 {
        let used = natively(&measure, words);
        let near = used.minor.abs_diff(ours.minor) <= allowance(used.minor);
        if near && (used.anon, used.pte) == (ours.anon, ours.pte) {
            return;
        }
        native.push(used);
    }
    panic!("{words:?}: natively {native:?}, on Foliant {ours:?}");
}

#[test]
fn programs_use_what_they_use_natively() {
    let python = if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    };
    for words in [
        &["true"][..],
        &["ls", "-l", "/usr/bin"],
        &["cat", "/etc/passwd"],
        &["sort", "-S", "32M", "/etc/services"],
        &["sha256sum", "/etc/passwd"],
        &["grep", "-r", "include", "/usr/include/linux"],
        &["perl", "-e", "my @a = map { $_ x 10 } 1..50000; print scalar @a"],
        &["sqlite3", ":memory:", "select 1;"],
        &[python, "-c", "print(1)"],
    ] {
        compare(words);
    }
}
