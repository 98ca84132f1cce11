//! Who runs mmops: the host, Foliant, User-Mode Linux, gVisor.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::initrd;
use super::mmops::Report;

/// A peer that takes longer than this for one run is stopped.
const LIMIT: Duration = Duration::from_secs(300);

/// A way to run mmops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    Native,
    Foliant,
    UserModeLinux,
    Gvisor,
}

impl Peer {
    pub(super) const EVERY: [Self; 4] = [Self::Native, Self::Foliant, Self::UserModeLinux, Self::Gvisor];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Foliant => "Foliant",
            Self::UserModeLinux => "User-Mode Linux",
            Self::Gvisor => "gVisor",
        }
    }
}

/// The programs that the peers need; made once per benchmark.
pub(super) struct Stage {
    folder: PathBuf,
    mmops: PathBuf,
    foliant: PathBuf,
    cpu: Option<u32>,
}

impl Stage {
    pub(super) fn new(folder: PathBuf, mmops: PathBuf, foliant: PathBuf, cpu: Option<u32>) -> Self {
        Self {
            folder,
            mmops,
            foliant,
            cpu,
        }
    }

    /// Prepares a peer; the error says why it cannot take part.
    pub(super) fn prepare(&self, peer: Peer) -> Result<()> {
        match peer {
            Peer::Native => Ok(()),
            Peer::Foliant if self.foliant.exists() => Ok(()),
            Peer::Foliant => bail!("{} was not built", self.foliant.display()),
            Peer::UserModeLinux => {
                find("linux.uml", "user-mode-linux")?;
                let busybox = find("busybox", "busybox-static")?;
                initrd::write(&self.initrd(), &busybox, &self.mmops)
            }
            Peer::Gvisor => find("runsc", "runsc").map(drop),
        }
    }

    /// Lets a peer run mmops once.
    pub(super) fn run(&self, peer: Peer) -> Result<Report> {
        let mut words: Vec<String> = Vec::new();
        if let Some(cpu) = self.cpu {
            words.extend(["taskset".into(), "-c".into(), cpu.to_string()]);
        }
        let mmops = self.mmops.to_string_lossy().into_owned();
        match peer {
            Peer::Native => words.push(mmops),
            Peer::Foliant => {
                words.extend([
                    self.foliant.to_string_lossy().into_owned(),
                    "run".into(),
                    // Only for what asks by `madvise`: the row "64K run, anon".
                    "--thp-anon".into(),
                    "64K:madvise".into(),
                    "--".into(),
                    mmops,
                ]);
            }
            Peer::UserModeLinux => {
                let initrd = format!("initrd={}", self.initrd().display());
                let kernel = [
                    "linux.uml",
                    "mem=512M",
                    &initrd,
                    "rdinit=/init",
                    "con0=null,fd:1",
                    "con=null",
                    "quiet",
                ];
                words.extend(kernel.map(String::from));
            }
            Peer::Gvisor => {
                let sandbox = [
                    "runsc",
                    "--platform=ptrace",
                    "--network=none",
                    "--ignore-cgroups",
                    "do",
                    &mmops,
                ];
                words.extend(sandbox.map(String::from));
            }
        }
        let text = self
            .output(&words)
            .with_context(|| format!("{} did not run mmops", peer.name()))?;
        let report = Report::parse(&text);
        if report.rows.is_empty() {
            bail!("{} printed no measurement", peer.name());
        }
        Ok(report)
    }

    fn initrd(&self) -> PathBuf {
        self.folder.join("initrd.cpio")
    }

    /// Standard output of a command, gathered in a file, within the limit.
    fn output(&self, words: &[String]) -> Result<String> {
        let out = self.folder.join("stdout");
        let err = self.folder.join("stderr");
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?);
        let mut child = command.spawn().with_context(|| words[0].clone())?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("stopped after {} s", LIMIT.as_secs());
            }
            // Rarely, so as not to disturb what is measured.
            std::thread::sleep(Duration::from_millis(50));
        };
        if !status.success() {
            let said = std::fs::read_to_string(&err).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(5).collect();
            bail!(
                "{status}: {}",
                tail.into_iter().rev().collect::<Vec<_>>().join(" / ")
            );
        }
        Ok(String::from_utf8_lossy(&std::fs::read(&out)?).into_owned())
    }
}

/// Finds a program in `PATH`; the error names Debian's package.
fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_file(file));
    found.with_context(|| format!("{program} is not installed (apt-get install {package})"))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
