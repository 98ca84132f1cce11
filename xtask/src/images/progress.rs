//! A bar on the terminal, or lines elsewhere.

use std::io::{IsTerminal, Write};

const WIDTH: usize = 30;

/// How far something is.
pub(super) struct Progress {
    name: &'static str,
    shown: usize,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            shown: 0,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// So many hundredths are done, and this comes now.
    pub(super) fn at(&mut self, percent: usize, what: &str) {
        if self.terminal {
            let full = "#".repeat(WIDTH * percent / 100);
            eprint!("\r\x1b[K{:<14} [{full:<WIDTH$}] {percent:>3} % {what}", self.name);
            let _flushed = std::io::stderr().flush();
        } else if percent != self.shown || percent == 0 {
            eprintln!("{}: {percent} % {what}", self.name);
        }
        self.shown = percent;
    }

    /// A line that stays.
    pub(super) fn note(&mut self, text: &str) {
        let begin = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{begin}{}: {text}", self.name);
    }

    pub(super) fn done(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
