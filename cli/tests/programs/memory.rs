//! Minor faults, peak RssAnon and peak VmPTE equal those of the running kernel.
//!
//! docs/counts.md says how they are measured.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Advice, fadvise};

use crate::harness::{build_c, installed, temporary};

/// What a run used; memory in KiB.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Used {
    minor: u64,
    anon: u64,
    pte: u64,
}

/// The same, and small, wherever the test runs: it lies on the stack.
const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];

fn natively(measure: &Path, words: &[&str]) -> Used {
    let file = temporary().join(format!("native-{}", std::process::id()));
    let status = Command::new(measure)
        .arg(&file)
        .args(words)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("measure");
    assert!(status.code().is_some());
    let line = std::fs::read_to_string(&file).expect("the measurement");
    std::fs::remove_file(file).expect("the measurement");
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

fn on_foliant(words: &[&str]) -> (Used, serde_json::Value) {
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
    let process = report["processes"][0].clone();
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{process}"));
    let used = Used {
        minor: number(&process["minor_faults"]),
        anon: number(&process["peak"]["anon"]),
        pte: number(&process["peak_table_kib"]),
    };
    (used, process)
}

/// Brings every file that a program mapped into the host's cache, page by page.
/// Then all pages are there, none is marked as the place to read ahead from,
/// which the kernel would not map around a fault, and none is part of a large
/// folio, which it would map as a whole.
fn warm(process: &serde_json::Value) {
    let areas = ["areas", "gone"]
        .into_iter()
        .filter_map(|list| process[list].as_array());
    for area in areas.flatten() {
        let name = area["name"].as_str().unwrap_or_default();
        if !name.starts_with('/') {
            continue;
        }
        let Ok(file) = std::fs::File::open(name) else {
            continue;
        };
        // What others have mapped stays as it is.
        for advice in [Advice::DontNeed, Advice::Random] {
            fadvise(&file, 0, None, advice).expect("a file");
        }
        let mut page = [0; 4096];
        let mut at = 0;
        while file.read_at(&mut page, at).is_ok_and(|read| read > 0) {
            at += page.len() as u64;
        }
    }
}

/// Runs a program both ways; natively a few times, since another program on
/// the host can cost it a fault.
fn compare(measure: &Path, words: &[&str]) {
    if !installed(words[0]) {
        return;
    }
    let (ours, process) = on_foliant(words);
    warm(&process);
    let mut native = Vec::new();
    while native.len() < 4 && !native.contains(&ours) {
        native.push(natively(measure, words));
    }
    println!("{words:?}: natively {native:?}, on Foliant {ours:?}");
    assert!(
        native.contains(&ours),
        "{words:?}: natively {native:?}, on Foliant {ours:?}"
    );
}

#[test]
fn programs_use_what_they_use_natively() {
    let Some(measure) = build_c("measure", &[]) else {
        return;
    };
    for words in [
        &["/usr/bin/true"][..],
        &["/usr/bin/ls", "-l", "/usr/bin"],
        &["/usr/bin/cat", "/etc/passwd"],
        &["/usr/bin/sort", "-S", "32M", "/etc/services"],
        &["/usr/bin/sha256sum", "/etc/passwd"],
        &["/usr/bin/grep", "-r", "include", "/usr/include/linux"],
        &[
            "/usr/bin/perl",
            "-e",
            "my @a = map { $_ x 10 } 1..50000; print scalar @a",
        ],
        &["/usr/bin/sqlite3", ":memory:", "select 1;"],
        &["/usr/bin/python3", "-c", "print(1)"],
        &["/usr/bin/busybox", "true"],
    ] {
        compare(&measure, words);
    }
}

#[test]
fn large_inputs_cost_what_they_cost_natively() {
    let Some(measure) = build_c("measure", &[]) else {
        return;
    };
    let input = temporary().join(format!("lines-{}", std::process::id()));
    std::fs::write(&input, lines(50 << 20)).expect("the input");
    let path = input.to_str().expect("a path");
    compare(&measure, &["/usr/bin/sha256sum", path]);
    // One thread: those of several take their faults in any order.
    compare(&measure, &["/usr/bin/sort", "-S", "32M", "--parallel=1", path]);
    compare(&measure, &["/usr/bin/find", "/usr/share/doc", "-maxdepth", "1"]);
    std::fs::remove_file(&input).expect("the input");

    let source = temporary().join(format!("empty-{}.c", std::process::id()));
    std::fs::write(&source, "int main(void){return 0;}\n").expect("the source");
    let compiler = Command::new("gcc").arg("-print-prog-name=cc1").output();
    let compiler = String::from_utf8(compiler.expect("gcc").stdout).expect("a path");
    let source_path = source.to_str().expect("a path");
    compare(
        &measure,
        &[compiler.trim(), "-quiet", "-o", "/dev/null", source_path],
    );
    std::fs::remove_file(&source).expect("the source");
}

/// Lines of 32 digits in no order.
fn lines(size: usize) -> String {
    let mut text = String::with_capacity(size + 64);
    let mut state = 1u64;
    while text.len() < size {
        for end in ["", "\n"] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(&format!("{state:016x}{end}"));
        }
    }
    text
}
