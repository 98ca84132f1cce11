//! Counts that CPUs change without meeting.

use alloc::boxed::Box;

use foliant_platform::sync::atomic::{AtomicI64, Ordering};

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicI64);

/// A sum over CPUs; each adds to a line of its own.
#[derive(Debug)]
pub(crate) struct CpuCount(Box<[Line]>);

impl CpuCount {
    pub(crate) fn new(cpus: usize) -> Self {
        Self((0..cpus.max(1)).map(|_| Line::default()).collect())
    }

    /// Adds on the line of `cpu`; what one adds another may take away.
    pub(crate) fn add(&self, cpu: usize, by: i64) {
        self.0[cpu % self.0.len()].0.fetch_add(by, Ordering::Relaxed);
    }

    /// The sum at some moment; never below zero.
    pub(crate) fn sum(&self) -> u64 {
        let sum: i64 = self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum();
        sum.max(0).unsigned_abs()
    }
}
