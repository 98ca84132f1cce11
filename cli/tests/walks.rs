//! `foliant run --walk` and `--pt`: the page tables of a program that runs.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::foliant;

fn run(words: &[&str]) -> (Option<i32>, String) {
    let (status, _, said) = foliant(&[&["run"], words].concat());
    (status, said)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// The number after `"name":"0x` or `"name":` in a line or text of JSON.
fn number(json: &str, name: &str) -> u64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).expect(name);
    let rest = rest.trim_start();
    let hex = rest.strip_prefix("\"0x");
    let digits = hex.unwrap_or(rest);
    let end = digits
        .find(|letter: char| !letter.is_ascii_hexdigit())
        .expect("more");
    u64::from_str_radix(&digits[..end], if hex.is_some() { 16 } else { 10 }).expect(name)
}

#[test]
fn a_translation_is_explained_down_to_the_frame() {
    let (status, said) = run(&[
        "--report",
        "none",
        "--walk",
        "[stack]-1000,deadbeef000",
        "--",
        "sh",
        "-c",
        "true; true",
    ]);
    assert_eq!(status, Some(0), "{said}");
    for part in [
        "[stack]\n",
        "PML4E       255",
        "PTE ",
        "write: 0x",
        "fetch: page fault, error code 0x15 (protection, user, fetch)",
        ": anonymous, references 1, mappings 1",
        "in no mapping",
        "read: page fault, error code 0x4 (user): the PML4E is not present",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn another_process_is_looked_at_while_it_runs() {
    let words = [
        "--report",
        "none",
        "--walk-at",
        "0.5",
        "--walk",
        "3:[stack]-8",
        "--",
        "sh",
        "-c",
        "sleep 2; true",
    ];
    let (status, said) = run(&words);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("in process 3 sleep"), "{said}");
}

#[test]
fn who_was_not_there_is_said() {
    for (words, message) in [
        (&["--walk", "77:[heap]"][..], "no process 77 was there"),
        (
            &["--walk-at", "9", "--walk", "[heap]"],
            "at the time of --walk-at",
        ),
        (&["--walk-pid", "77", "--pt", "/dev/null"], "no process 77"),
        (&["--walk", "heap"], "expected a hexadecimal address"),
        (&["--walk-at", "soon"], "expected exit, or seconds"),
    ] {
        let all = [&["--report", "none"], words, &["--", "true"]].concat();
        let (status, said) = run(&all);
        assert_eq!(status, Some(125), "{said}");
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn all_mappings_are_what_is_resident() {
    let (report, pt) = (file("report.json"), file("pt.json"));
    let form = format!("json={}", report.display());
    let pt_name = pt.display().to_string();
    let (status, said) = run(&["--report", &form, "--pt", &pt_name, "--", "cat", "/dev/null"]);
    assert_eq!(status, Some(0), "{said}");
    let report = fs::read_to_string(report).expect("a report");
    let (_, areas) = report.split_once("\"areas\":").expect("areas");
    let (areas, _) = areas.split_once("\"gone\":").expect("the end of areas");
    let areas: Vec<(u64, u64)> = areas
        .split("\"start\":")
        .skip(1)
        .map(|area| {
            let area = format!("\"start\":{area}");
            (number(&area, "start"), number(&area, "end"))
        })
        .collect();
    let (_, last) = report.split_once("\"last\":").expect("the last moment");
    let resident = number(last, "anon") + number(last, "file") + number(last, "shmem");

    let listed = fs::read_to_string(pt).expect("a listing");
    let mut kib = 0;
    for line in listed.lines() {
        let (start, bytes) = (number(line, "start"), number(line, "bytes"));
        let mut inside = areas.iter().map(|&(from, to)| start >= from && start < to);
        assert!(inside.any(|is| is), "{line} is in no mapping");
        kib += bytes / 1024;
    }
    // The pages of vDSO and vvar, and the zero page, count for nobody.
    assert!(
        (resident..resident + 64).contains(&kib),
        "{resident} and {kib} KiB"
    );
}

#[test]
fn the_name_of_the_file_says_the_format() {
    for (ending, begins) in [
        ("ptdump", "0x0000000000000000-"),
        ("csv", "start,last,memory"),
        ("parquet", "PAR1"),
        ("txt", "first "),
    ] {
        let path = file(&format!("pt.{ending}"));
        let name = path.display().to_string();
        let (status, said) = run(&["--report", "none", "--pt", &name, "--", "true"]);
        assert_eq!(status, Some(0), "{said}");
        let bytes = fs::read(path).expect("a listing");
        assert!(
            bytes.starts_with(begins.as_bytes()) || bytes.starts_with(b"---["),
            "{ending}"
        );
    }
}
