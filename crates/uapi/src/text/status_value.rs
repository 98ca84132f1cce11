//! The kinds of value that stand in `/proc/PID/status`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, expected, number, split};
use super::write::put;
use crate::signal::SigSet;

/// A value after its label and a tab.
pub(super) trait Value: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(text: &str) -> Result<Self, ParseError>;
}

/// An octal mask of four digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Umask(pub u32);

/// A state letter, shown with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// On a CPU or waiting for one.
    Running,
    /// Waiting, can be interrupted.
    Sleeping,
    /// Waiting, cannot be interrupted.
    DiskSleep,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by a tracer.
    TracingStop,
    /// Exited, and gone in a moment.
    Dead,
    /// Exited, waiting to be waited for.
    Zombie,
    /// Parked kernel thread.
    Parked,
    /// Idle kernel thread.
    Idle,
}

/// Real, effective, saved and file-system id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids(pub [u32; 4]);

/// Supplementary groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(pub Vec<u32>);

/// An id in each namespace, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceIds(pub Vec<i32>);

/// KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kib(pub u64);

/// Queued signals and their limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalQueue {
    /// Queued.
    pub queued: u64,
    /// Limit.
    pub limit: u64,
}

/// A capability set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// An address mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressMask(pub u64);

macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                put!(out, "{self}");
            }
            fn take(text: &str) -> Result<Self, ParseError> {
                text.parse().map_err(|_| expected("a number"))
            }
        }
    )*};
}

plain!(u32, i32, u64, String);

impl Value for Umask {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{:04o}", self.0);
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        u32::from_str_radix(text, 8)
            .map(Self)
            .map_err(|_| expected("an octal number"))
    }
}

impl TaskState {
    const EVERY: [(Self, &str); 9] = [
        (Self::Running, "R (running)"),
        (Self::Sleeping, "S (sleeping)"),
        (Self::DiskSleep, "D (disk sleep)"),
        (Self::Stopped, "T (stopped)"),
        (Self::TracingStop, "t (tracing stop)"),
        (Self::Dead, "X (dead)"),
        (Self::Zombie, "Z (zombie)"),
        (Self::Parked, "P (parked)"),
        (Self::Idle, "I (idle)"),
    ];

    /// As in `status`.
    pub fn text(self) -> &'static str {
        let found = Self::EVERY.iter().find(|(state, _)| *state == self);
        found.map_or("", |(_, text)| text)
    }

    /// As in `stat`.
    pub fn letter(self) -> u8 {
        self.text().as_bytes().first().copied().unwrap_or(b'?')
    }
}

impl Value for TaskState {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text().as_bytes());
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        let found = Self::EVERY.iter().find(|(_, own)| *own == text);
        found.map(|(state, _)| *state).ok_or(expected("a task state"))
    }
}

impl Value for Ids {
    fn put(&self, out: &mut Vec<u8>) {
        let [real, effective, saved, file] = self.0;
        put!(out, "{real}\t{effective}\t{saved}\t{file}");
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        let mut ids = [0; 4];
        let mut words = text.split('\t');
        for id in &mut ids {
            *id = number(words.next().ok_or(expected("four ids"))?, "an id")?;
        }
        Ok(Self(ids))
    }
}

impl Value for Groups {
    fn put(&self, out: &mut Vec<u8>) {
        for (at, group) in self.0.iter().enumerate() {
            put!(out, "{}{group}", if at == 0 { "" } else { " " });
        }
        out.push(b' ');
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        text.split_whitespace()
            .map(|word| number(word, "a group"))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Value for NamespaceIds {
    fn put(&self, out: &mut Vec<u8>) {
        for (at, id) in self.0.iter().enumerate() {
            put!(out, "{}{id}", if at == 0 { "" } else { "\t" });
        }
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        text.split_whitespace()
            .map(|word| number(word, "an id"))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Value for Kib {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{:>8} kB", self.0);
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        number(text.strip_suffix(" kB").ok_or(expected("kB"))?, "a number").map(Self)
    }
}

impl Value for SignalQueue {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{}/{}", self.queued, self.limit);
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        let (queued, limit) = split(text, "/", "two numbers")?;
        Ok(Self {
            queued: number(queued, "a number")?,
            limit: number(limit, "a number")?,
        })
    }
}

fn hex16(text: &str) -> Result<u64, ParseError> {
    super::scan::hex(text, "a hexadecimal number")
}

impl Value for SigSet {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{:016x}", self.bits());
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        hex16(text).map(Self::from_bits)
    }
}

impl Value for Capabilities {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{:016x}", self.0);
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        hex16(text).map(Self)
    }
}

impl Value for AddressMask {
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, "{:#x}", self.0);
    }
    fn take(text: &str) -> Result<Self, ParseError> {
        hex16(text.strip_prefix("0x").ok_or(expected("0x"))?).map(Self)
    }
}
