//! The program with all targets: how it is built, and with what limits it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::tree;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What rustc is told so that libFuzzer sees which branches and comparisons
/// an input reached. All of it is stable.
const FLAGS: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input may take this many seconds, and a process this many MiB: more is
/// a bug like any other.
pub(super) const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// One of the targets.
pub(super) struct Target {
    pub(super) name: String,
    /// Bytes of the longest input.
    pub(super) longest: String,
    pub(super) what: String,
}

/// The program, built.
pub(super) struct Engine {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
}

impl Engine {
    /// Builds it; assertions and overflow checks are on.
    pub(super) fn build() -> Result<Self> {
        let root = tree::root()?;
        let library = libstdcxx()?;
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("-Lnative={}", library.display()));
        let folder = root.join("target/fuzz");
        let status = Command::new(env!("CARGO"))
            // libFuzzer's C++ library goes into the program.
            .env("CXXSTDLIB", "static=stdc++")
            .env("RUSTFLAGS", flags.join(" "))
            .args(["build", "--quiet", "--release", "--target", TRIPLE])
            .arg("--manifest-path")
            .arg(root.join("fuzz/engine/Cargo.toml"))
            .arg("--target-dir")
            .arg(&folder)
            .status()
            .context("cargo")?;
        if !status.success() {
            bail!("the fuzzer does not build");
        }
        let program = folder.join(TRIPLE).join("release/foliant-fuzz");
        Ok(Self { program, root })
    }

    /// A run of a target, with its limits.
    pub(super) fn command(&self, target: &Target) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--target={}", target.name))
            .arg(format!("-max_len={}", target.longest))
            .args(LIMITS);
        command
    }

    /// All targets, as the program itself lists them.
    pub(super) fn targets(&self) -> Result<Vec<Target>> {
        let out = Command::new(&self.program).arg("--list").output();
        let out = out.with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = String::from_utf8(out.stdout)?;
        text.lines()
            .map(|line| {
                let mut words = line.splitn(3, '\t').map(str::to_owned);
                let mut next = || words.next().ok_or_else(|| anyhow!("no target: `{line}`"));
                Ok(Target {
                    name: next()?,
                    longest: next()?,
                    what: next()?,
                })
            })
            .collect()
    }

    /// The corpus that is kept.
    pub(super) fn kept(&self, target: &Target) -> PathBuf {
        self.root.join("fuzz/corpus").join(&target.name)
    }
}

/// Where the static C++ library lies.
fn libstdcxx() -> Result<PathBuf> {
    let out = Command::new("g++").arg("-print-file-name=libstdc++.a").output();
    let out = out.context("fuzzing wants a C++ compiler: apt-get install g++")?;
    let path = String::from_utf8(out.stdout)?;
    let folder = Path::new(path.trim())
        .parent()
        .filter(|folder| folder.is_absolute());
    folder
        .map(Path::to_path_buf)
        .ok_or_else(|| anyhow!("g++ has no libstdc++.a"))
}
