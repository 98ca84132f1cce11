//! volatility3 as a peer, if there is a Python that has it.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use foliant_inspect::Root;

/// What it is asked.
const SCRIPT: &str = include_str!("volatility.py");

/// A Python with volatility3 that has the image open.
pub(super) struct Volatility {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Volatility {
    /// Starts `python` on the image.
    pub(super) fn start(python: &Path, image: &Path, root: Root) -> io::Result<Self> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .arg(image)
            .arg(format!("{:x}", root.table.raw()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("no pipe");
        Ok(Self {
            requests: child.stdin.take().ok_or_else(missing)?,
            answers: BufReader::new(child.stdout.take().ok_or_else(missing)?),
            child,
        })
    }

    /// Nanoseconds of CPU time for each item of a request.
    pub(super) fn time(&mut self, request: &str) -> io::Result<f64> {
        writeln!(self.requests, "{request}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let first = line.split_whitespace().next().unwrap_or_default();
        first
            .parse()
            .map_err(|_| io::Error::other("volatility3 did not answer: is it installed there?"))
    }
}

impl Drop for Volatility {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
