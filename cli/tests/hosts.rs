//! Hosts that lack something: `foliant run` works without it, or says in one
//! line what is missing and what helps, and ends with a status of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const FOLIANT: &str = env!("CARGO_BIN_EXE_foliant");

fn temporary() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Builds the launcher that takes system calls away; `None` without a compiler.
fn deprive() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deprive.c");
        let program = temporary().join(format!("deprive-{}", std::process::id()));
        match Command::new("gcc").arg("-o").arg(&program).arg(source).status() {
            Ok(status) => {
                assert!(status.success(), "gcc could not build deprive.c");
                Some(program)
            }
            Err(error) => {
                println!("skipped: gcc: {error} (apt-get install gcc)");
                None
            }
        }
    });
    built.as_deref()
}

/// Runs words, never longer than a minute.
fn run(words: &[&str]) -> Output {
    Command::new("timeout")
        .args(["-s", "KILL", "60"])
        .args(words)
        .env("LC_ALL", "C")
        .output()
        .expect("timeout")
}

/// It says one line with this in it, and fails.
fn refused(output: &Output, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.starts_with("foliant: ") && said.contains(part), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// The program ran.
fn worked(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(output.stdout, b"hi\n", "{said}");
    assert_eq!(said, "");
}

const ECHO: [&str; 8] = ["run", "--report", "none", "--ram", "64M", "--", "sh", "-c"];

fn echo() -> Vec<&'static str> {
    let mut words = vec![FOLIANT];
    words.extend(ECHO);
    words.push("echo hi | cat");
    words
}

/// Runs where calls fail with an errno; see `deprive.c`.
fn without(calls: &str, errno: i32) -> Option<Output> {
    let errno = errno.to_string();
    let mut words = vec![deprive()?.to_str().expect("a path of text"), calls, &errno];
    words.extend(echo());
    Some(run(&words))
}

/// Runs with a resource limit, as `ulimit` knows it.
fn limited(limit: &str) -> Output {
    let script = format!("ulimit {limit} && exec \"$@\"");
    let mut words = vec!["bash", "-c", &script, "bash"];
    words.extend(echo());
    run(&words)
}

const EPERM: i32 = 1;
const ENOTTY: i32 = 25;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;

#[test]
fn seccomp_is_refused() {
    for (errno, advice) in [
        (EPERM, "its seccomp profile must allow"),
        (ENOSYS, "does not have it"),
        (EINVAL, "does not have it"),
        (EBUSY, "run it outside"),
    ] {
        let Some(output) = without("317", errno) else {
            return;
        };
        refused(&output, advice);
    }
    // The ioctl by which calls are received.
    let Some(output) = without("16:1=0xc0502100", ENOTTY) else {
        return;
    };
    refused(&output, "SECCOMP_IOCTL_NOTIF_RECV");
}

#[test]
fn calls_that_setting_up_needs() {
    for (calls, part) in [
        ("319", "memfd_create: Function not implemented"),
        ("131", "sigaltstack: Function not implemented"),
        ("53", "socketpair: Function not implemented"),
        ("56,57,435", "fork: Function not implemented"),
        ("291,213", "the host's files: Function not implemented"),
    ] {
        let Some(output) = without(calls, ENOSYS) else {
            return;
        };
        refused(&output, part);
        refused(&output, "in a container, its seccomp profile must allow");
    }
}

#[test]
fn calls_that_can_be_done_without() {
    // Wake-ups on the caller's CPU, execveat, close_range, a second group.
    for calls in ["16:1=0x40082104", "322", "436", "112"] {
        let Some(output) = without(calls, ENOSYS) else {
            return;
        };
        worked(&output);
    }
}

#[test]
fn user_code_that_cannot_read_the_bases() {
    let Some(deprive) = deprive() else { return };
    let deprive = deprive.to_str().expect("a path of text");
    for script in [
        "echo hi | cat",
        // Threads have their variables behind FS.
        "perl -e 'use threads; $_->join for map { threads->create(sub { my %h; $h{$_} = 1 for 1..1000 }) } 1..4; print qq(hi\\n)'",
    ] {
        let mut words = vec![deprive, "fsgsbase", FOLIANT];
        words.extend(ECHO);
        words.push(script);
        worked(&run(&words));
    }
}

#[test]
fn few_open_files() {
    refused(&limited("-n 8"), "allow more open files (ulimit -n)");
    worked(&limited("-n 40"));
    // The soft limit is the program's alone.
    worked(&limited("-S -n 10"));
}

#[test]
fn little_memory_of_the_host() {
    refused(&limited("-v 60000"), "ulimit -v");
    refused(&limited("-d 10000"), "ulimit -d");
    refused(&limited("-s 128"), "ulimit -s");
    worked(&limited("-s 1024"));
    worked(&limited("-l 0"));
}

#[test]
fn files_that_must_stay_small() {
    refused(&limited("-f 0"), "ulimit -f");
    worked(&limited("-S -f 0"));
}

/// As a user with few processes. Only root can become one.
#[test]
fn few_processes() {
    if !is_root() {
        return println!("skipped: only root can start a user with its own count of processes");
    }
    // A copy, for a user who may not read this folder.
    let folder = std::env::temp_dir().join(format!("foliant-hosts-{}", std::process::id()));
    let copy = folder.join("foliant");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(FOLIANT, &copy).expect("a copy");
    let limited = |limit: u32| {
        let script = format!("cd / && ulimit -u {limit} && exec \"$@\"");
        let copy = copy.to_str().expect("a path of text");
        let mut words = vec!["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"];
        words.extend(["bash", "-c", &script, "bash", copy]);
        words.extend(&echo()[1..]);
        run(&words)
    };
    refused(&limited(1), "ulimit -u");
    refused(&limited(4), "ulimit -u");
    let output = limited(10);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|status| status > 128), "{said}");
    assert!(said.contains("the host makes no process for process"), "{said}");
    worked(&limited(100));
    std::fs::remove_dir_all(folder).expect("the folder");
}

#[test]
fn proc_is_not_mounted() {
    if !is_root() {
        return println!("skipped: only root can hide /proc");
    }
    let mut words = vec![
        "unshare",
        "-m",
        "sh",
        "-c",
        "mount -t tmpfs none /proc && exec \"$@\"",
        "sh",
    ];
    words.extend(echo());
    let output = run(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare") || said.contains("mount:") {
        return println!("skipped: no mounts of its own here: {said}");
    }
    refused(&output, "the user machine needs /proc");
}

/// The machine's `/dev/shm` is its own.
#[test]
fn dev_shm_is_not_mounted() {
    if !is_root() {
        return println!("skipped: only root can hide /dev/shm");
    }
    let mut words = vec![
        "unshare",
        "-m",
        "sh",
        "-c",
        "umount -l /dev/shm; mount -t tmpfs -o ro none /dev/shm && exec \"$@\"",
        "sh",
    ];
    let script = "echo hi > /dev/shm/foliant-hosts && cat /dev/shm/foliant-hosts";
    let mut inside = echo();
    inside.pop();
    inside.push(script);
    words.extend(inside);
    let output = run(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare") || said.contains("mount:") {
        return println!("skipped: no mounts of its own here: {said}");
    }
    worked(&output);
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    output.stdout == b"0\n"
}
