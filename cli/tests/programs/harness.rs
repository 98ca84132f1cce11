//! Runs a program twice and compares.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A program to run both ways.
pub(crate) struct Case {
    words: Vec<String>,
    machine: Vec<String>,
    folder: PathBuf,
    stdin: Option<PathBuf>,
    limit: Duration,
    before_each: fn(&Path),
}

/// What a run left.
#[derive(PartialEq, Eq)]
struct Outcome {
    stdout: Vec<u8>,
    status: i32,
}

/// How often a comparison is repeated when the host itself changes meanwhile.
const TRIES: usize = 4;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Case {
    /// A program and its arguments, in a fresh folder.
    pub(crate) fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(ToString::to_string).collect(),
            machine: Vec::new(),
            folder: fresh_folder(),
            stdin: None,
            limit: Duration::from_secs(120),
            before_each: |_| (),
        }
    }

    /// A script for `sh`.
    pub(crate) fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    /// On a machine with these options.
    pub(crate) fn on(mut self, options: &[&str]) -> Self {
        self.machine = options.iter().map(ToString::to_string).collect();
        self
    }

    /// In this folder.
    pub(crate) fn inside(mut self, folder: &Path) -> Self {
        self.folder = folder.to_path_buf();
        self
    }

    /// Reads this file.
    pub(crate) fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_path_buf());
        self
    }

    /// May take this long.
    pub(crate) fn seconds(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Puts the folder into its first state before every run.
    pub(crate) fn before_each(mut self, prepare: fn(&Path)) -> Self {
        self.before_each = prepare;
        self
    }

    /// Runs it natively, on Foliant, and natively again: if the two native runs
    /// differ, the host has changed, and it starts over.
    pub(crate) fn same(self) {
        if !installed(&self.words[0]) {
            return;
        }
        let mut foliant: Vec<String> = vec![
            env!("CARGO_BIN_EXE_foliant").into(),
            "run".into(),
            "--report".into(),
            "none".into(),
        ];
        foliant.extend(self.machine.iter().cloned());
        foliant.push("--".into());
        foliant.extend(self.words.iter().cloned());

        for _ in 0..TRIES {
            let before = self.run(&self.words);
            let ours = self.run(&foliant);
            if ours == before {
                return;
            }
            let after = self.run(&self.words);
            if before == after {
                self.complain(&before, &ours);
            }
        }
        println!(
            "skipped: {:?} does not give the same output twice on this host",
            self.words
        );
    }

    fn run(&self, words: &[String]) -> Outcome {
        (self.before_each)(&self.folder);
        let stamp = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let out = temporary().join(format!("stdout-{}-{stamp}", std::process::id()));
        let stdin = match &self.stdin {
            Some(file) => Stdio::from(File::open(file).expect("the input")),
            None => Stdio::null(),
        };
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env_remove("RUST_BACKTRACE")
            .stdin(stdin)
            .stdout(File::create(&out).expect("a file for the output"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if start.elapsed() > self.limit {
                child.kill().expect("kill");
                child.wait().expect("wait");
                panic!("{words:?} took longer than {} s", self.limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stdout = std::fs::read(&out).expect("the output");
        std::fs::remove_file(&out).expect("the output");
        Outcome {
            stdout,
            status: shell_status(status),
        }
    }

    fn complain(&self, native: &Outcome, ours: &Outcome) -> ! {
        let place = native.stdout.iter().zip(&ours.stdout).position(|(a, b)| a != b);
        let place = place.unwrap_or(native.stdout.len().min(ours.stdout.len()));
        let around = |bytes: &[u8]| {
            let start = place.saturating_sub(60);
            String::from_utf8_lossy(&bytes[start..bytes.len().min(place + 60)]).into_owned()
        };
        panic!(
            "{:?}: natively {} bytes and status {}, on Foliant {} bytes and status {}; they differ at byte {place}:\n  {:?}\n  {:?}",
            self.words,
            native.stdout.len(),
            native.status,
            ours.stdout.len(),
            ours.status,
            around(&native.stdout),
            around(&ours.stdout),
        );
    }
}

/// The status as a shell shows it.
fn shell_status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => 128 + signal,
        None => status.code().unwrap_or(-1),
    }
}

/// Where tests may leave files.
pub(crate) fn temporary() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn fresh_folder() -> PathBuf {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = temporary().join(format!("run-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl Drop for Case {
    fn drop(&mut self) {
        let ours = self
            .folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("run-"));
        if ours && !std::thread::panicking() {
            let _gone = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether a program is there; says how to get it if not.
pub(crate) fn installed(program: &str) -> bool {
    let found = Path::new(program).is_absolute() && Path::new(program).exists()
        || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(program).is_file());
    if !found {
        println!(
            "skipped: {program} is not installed (apt-get install {})",
            package(program.rsplit('/').next().unwrap_or(program))
        );
    }
    found
}

/// Whether the tests run as root, as programs on Foliant then do too.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Debian's package of a program.
fn package(program: &str) -> &str {
    match program {
        "busybox" => "busybox-static",
        "xz" => "xz-utils",
        "find" => "findutils",
        "node" => "nodejs",
        "java" => "default-jdk-headless",
        "initdb" | "pg_ctl" => "postgresql",
        "psql" => "postgresql-client",
        "setpriv" => "util-linux",
        "true" | "ls" | "cat" | "sha256sum" | "sort" => "coreutils",
        other => other,
    }
}

/// Builds a C program of this folder; `None` (said why) without a compiler.
pub(crate) fn build_c(name: &str, flags: &[&str]) -> Option<PathBuf> {
    if !installed("gcc") {
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs/c")
        .join(format!("{name}.c"));
    let program = temporary().join(format!("{name}-{}", std::process::id()));
    let status = Command::new("gcc")
        .args(["-O1", "-o"])
        .arg(&program)
        .arg(source)
        .args(flags)
        .status();
    assert!(status.expect("gcc").success(), "gcc could not build {name}.c");
    Some(program)
}
