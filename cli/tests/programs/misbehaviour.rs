//! Programs that harm themselves harm nothing else: Foliant lives, says what
//! happened, and no process is left behind.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::build_c;

fn program() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| build_c("misbehave", &[])).clone()
}

/// Status and standard error of a run on a machine of `ram`.
fn run(ram: &str, words: &[&str]) -> Option<(Option<i32>, String)> {
    let program = program()?;
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--audit", "--report", "none", "--ram", ram, "--"])
        .arg(program)
        .args(words)
        .output()
        .expect("foliant");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    Some((output.status.code(), said))
}

#[test]
fn who_unmaps_its_stack_dies_of_it() {
    let Some((status, said)) = run("64M", &["stack"]) else {
        return;
    };
    assert_eq!(status, Some(139), "{said}");
}

#[test]
fn who_takes_all_memory_is_killed_with_a_line() {
    for ram in ["8M", "32M"] {
        let Some((status, said)) = run(ram, &["memory"]) else {
            return;
        };
        assert_eq!(status, Some(137), "{said}");
        assert!(
            said.contains("out of memory: process") && said.contains("is killed"),
            "{said}"
        );
    }
}

#[test]
fn forks_without_end_end_with_the_memory() {
    let Some((status, said)) = run("24M", &["fork"]) else {
        return;
    };
    assert_eq!(status, Some(137), "{said}");
    assert!(said.contains("out of memory"), "{said}");
}

/// Where the machine keeps its own pages, guest code does not live.
#[test]
fn who_jumps_into_the_stub_is_killed() {
    for at in ["6fffe0000000", "6fffe0000010", "6fffe8008000", "6ffffffff000"] {
        let Some((status, said)) = run("64M", &["jump", at]) else {
            return;
        };
        assert!(matches!(status, Some(137 | 139)), "{at}: {status:?} {said}");
    }
}

#[test]
fn nothing_can_be_mapped_over_the_machines_pages() {
    let Some((status, said)) = run("64M", &["reserved"]) else {
        return;
    };
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn what_spans_the_machines_pages_is_done_around_them() {
    let Some((status, said)) = run("64M", &["span"]) else {
        return;
    };
    assert_eq!(status, Some(0), "{said}");
}

/// Threads that work together: one enters the stub, another reads and writes
/// the frames of the first. Without `machine::guard` they get the secret.
#[test]
fn threads_of_one_guest_do_not_get_out_together() {
    let Some(program) = build_c("escape", &["-pthread"]) else {
        return;
    };
    let output = Command::new("timeout")
        .args(["-s", "KILL", "120", env!("CARGO_BIN_EXE_foliant")])
        .args(["run", "--audit", "--report", "none", "--"])
        .arg(&program)
        .output()
        .expect("foliant");
    std::fs::remove_file(program).expect("the program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
    for line in said.lines() {
        assert!(line.ends_with("leaked 0, deaf 0, moved 0"), "{line}");
    }
    // On a busy host not every attempt gets that far.
    assert!(!said.contains("single step: foiled 0"), "{said}");
}

#[test]
fn no_call_reaches_the_machines_pages_by_address() {
    let Some((status, said)) = run("64M", &["reach"]) else {
        return;
    };
    assert_eq!(status, Some(0), "{said}");
}

/// A host that shows little at a time: what is filled pushes out other pages.
#[test]
fn more_pages_than_the_host_shows_at_one_time() {
    let Some(program) = build_c("scatter", &["-pthread"]) else {
        return;
    };
    let output = Command::new("timeout")
        .args(["-s", "KILL", "120", env!("CARGO_BIN_EXE_foliant")])
        .args([
            "run",
            "--audit",
            "--report",
            "none",
            "--host-mappings",
            "300",
            "--",
        ])
        .arg(&program)
        .output()
        .expect("foliant");
    std::fs::remove_file(program).expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(output.stdout, b"15000\n", "{said}");
}
