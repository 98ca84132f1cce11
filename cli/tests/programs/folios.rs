//! Faults that fill more than a page.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use crate::harness::{Case, build_c};

const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";

/// The host's setting for 64 KiB, switched on where it is advised, until this
/// is dropped. Nobody notices who does not ask by `madvise`.
struct Advised {
    before: String,
    /// Whoever tests the same way waits.
    _lock: File,
}

fn set(word: &str) -> std::io::Result<()> {
    let path = format!("{SETTINGS}/hugepages-64kB/enabled");
    File::options().write(true).open(path)?.write_all(word.as_bytes())
}

impl Advised {
    fn on_this_host() -> Option<Self> {
        let skipped = |why: std::io::Error| {
            println!("skipped: sizes of folios cannot be set on this kernel: {why}");
        };
        let lock = File::open(format!("{SETTINGS}/hugepages-16kB/enabled"))
            .map_err(skipped)
            .ok()?;
        lock.lock().map_err(skipped).ok()?;
        let others = [16, 32, 128, 256, 512, 1024].map(|kib| format!("{SETTINGS}/hugepages-{kib}kB/enabled"));
        let is_on = |path: &&String| fs::read_to_string(path).is_ok_and(|shown| !shown.contains("[never]"));
        if let Some(on) = others.iter().find(is_on) {
            println!("skipped: {on} is not never, which is another machine");
            return None;
        }
        let shown = fs::read_to_string(format!("{SETTINGS}/hugepages-64kB/enabled"))
            .map_err(skipped)
            .ok()?;
        let before = shown.split(['[', ']']).nth(1).unwrap_or("never").to_owned();
        set("madvise").map_err(skipped).ok()?;
        Some(Self { before, _lock: lock })
    }

    /// How often the host had no memory in one piece.
    fn fallbacks() -> u64 {
        let count = fs::read_to_string(format!("{SETTINGS}/hugepages-64kB/stats/anon_fault_fallback"));
        count
            .ok()
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Advised {
    fn drop(&mut self) {
        if let Err(error) = set(&self.before) {
            println!("the setting is not {} again: {error}", self.before);
        }
    }
}

#[test]
fn a_fault_that_fills_64_kib_is_linuxs() {
    let Some(_advised) = Advised::on_this_host() else {
        return;
    };
    let Some(program) = build_c("folios", &[]) else {
        return;
    };
    let before = Advised::fallbacks();
    let machine = ["--thp-anon", "64K:madvise", "--audit"];
    let compare = || Case::new(&[&program.to_string_lossy()]).on(&machine).same();
    let compared = std::panic::catch_unwind(compare);
    fs::remove_file(&program).expect("the program");
    match compared {
        _ if Advised::fallbacks() != before => {
            println!("skipped: the host had no memory in one piece");
        }
        Ok(()) => {}
        Err(difference) => std::panic::resume_unwind(difference),
    }
}

#[test]
fn programs_give_the_same_where_every_fault_fills_what_fits() {
    let every = ["--thp-anon", "16K-1M:always", "--audit"];
    Case::shell("ls /usr/bin | sort -r | uniq | wc -l")
        .on(&every)
        .same();
    Case::new(&[
        "python3",
        "-c",
        "import subprocess, threading, mmap\n\
         area = mmap.mmap(-1, 1 << 20); area[5000] = 7\n\
         work = [threading.Thread(target=lambda: bytearray(3 << 20)) for _ in range(4)]\n\
         [thread.start() for thread in work]; [thread.join() for thread in work]\n\
         print(area[5000], subprocess.check_output(['echo', 'child']))",
    ])
    .on(&every)
    .same();
    // The same with little memory, where blocks are hard to get.
    let little = ["--thp-anon", "16K-1M:always", "--audit", "--ram", "48M"];
    Case::shell("seq 1 60000 | sort -R --random-source=/dev/zero | sort -n | tail -n 2")
        .on(&little)
        .same();
}

/// What a script prints on a machine.
fn prints(options: &[&str], script: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--report", "none"])
        .args(options)
        .args(["--", "sh", "-c", script])
        .output()
        .expect("foliant");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_machines_root_changes_its_settings() {
    let script = "cd /sys/kernel/mm/transparent_hugepage
        cat enabled defrag hugepages-64kB/enabled hugepages-128kB/enabled hugepages-2048kB/enabled
        if [ \"$(id -u)\" = 0 ]; then
            echo always > hugepages-16kB/enabled
            sed -n 's/.*/some/p' hugepages-16kB/enabled
            [ \"$(cat hugepages-16kB/stats/anon_fault_alloc)\" -gt 0 ] && cat hugepages-16kB/enabled
        else
            echo always 2>/dev/null > hugepages-16kB/enabled || printf 'some\\n[always] inherit madvise never\\n'
        fi";
    let printed = prints(
        &["--thp", "madvise", "--thp-anon", "64K:inherit;128K-1M:madvise"],
        script,
    );
    let expected = "always [madvise] never\n\
                    always defer defer+madvise [madvise] never\n\
                    always [inherit] madvise never\n\
                    always inherit [madvise] never\n\
                    always inherit madvise [never]\n\
                    some\n\
                    [always] inherit madvise never\n";
    assert_eq!(printed, expected);
}
