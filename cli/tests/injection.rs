//! Frame allocations that fail, one after the other: whatever the program
//! does about it, Foliant ends by itself and has every frame back.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Allocations of the program below that are made to fail.
const FRAMES: u64 = 2000;
/// Of which these are tried when nobody asks for all.
const STEP: u64 = 40;
/// A run that takes longer hangs; most take a tenth of a second.
const LIMIT: Duration = Duration::from_secs(60);
/// Runs at once.
const WORKERS: u64 = 2;

/// What a run left.
struct Run {
    /// `None` if it was killed: by its own end, or because it hung.
    status: Option<i32>,
    said: String,
}

/// Runs the program with its `nth` allocation failing.
fn run(nth: u64) -> Run {
    let said =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("inject-{}-{nth}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "64M", "--report", "json", "--fail-frame"])
        .arg(nth.to_string())
        .args(["--", "sh", "-c", "ls | wc -l"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("a file for what it says"))
        .spawn()
        .expect("foliant");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status.code();
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("kill");
            child.wait().expect("wait");
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let mut text = String::new();
    let mut file = File::open(&said).expect("what it said");
    file.read_to_string(&mut text).expect("text");
    std::fs::remove_file(&said).expect("what it said");
    Run { status, said: text }
}

/// What is wrong with a run.
fn complaint(run: &Run) -> Option<String> {
    let tail = |text: &str| {
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("foliant:")).collect();
        lines.join("; ")
    };
    let Some(status) = run.status else {
        return Some(format!("it hung or was killed: {}", tail(&run.said)));
    };
    if run.said.contains("panicked") {
        return Some(run.said.clone());
    }
    // The report is there unless the program could not even start.
    let report = run.said.find("{\n").map(|at| &run.said[at..]);
    let clean = report.is_none_or(|report| {
        let mut values = serde_json::Deserializer::from_str(report).into_iter::<serde_json::Value>();
        values.next().and_then(Result::ok).is_some_and(|report| {
            report["leaked_frames"] == 0 && report["audit"].as_array().is_some_and(Vec::is_empty)
        })
    });
    (status == 123 || !clean).then(|| format!("status {status}: {}", tail(&run.said)))
}

#[test]
fn whichever_allocation_fails_nothing_hangs_or_leaks() {
    let all = std::env::var_os("FOLIANT_INJECT_ALL").is_some();
    let step = if all { 1 } else { STEP };
    let next = AtomicU64::new(1);
    let work = || {
        let mut complaints = Vec::new();
        loop {
            let nth = next.fetch_add(step, Ordering::Relaxed);
            if nth > FRAMES {
                return complaints;
            }
            if let Some(complaint) = complaint(&run(nth)) {
                complaints.push(format!("allocation {nth}: {complaint}"));
            }
        }
    };
    let complaints: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_run_without_failures_leaves_no_frame_behind() {
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "64M", "--report", "json", "--audit"])
        .args(["--", "sh", "-c", "sleep 1000 & ls | wc -l"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .expect("foliant");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["leaked_frames"], 0, "{said}");
    assert_eq!(report["stuck_tasks"], 0, "{said}");
}
