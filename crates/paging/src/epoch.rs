//! Knowing when no descent can still see an unlinked table.
//!
//! A descent counts itself under the current epoch; the epoch moves from *e* to
//! *e+1* only when nobody is counted under *e-1*. What was unlinked before a
//! look at the clock showed *e* can thus be seen by nobody once it shows *e+2*.
//! Three classes of counters suffice.

use alloc::boxed::Box;

use foliant_platform::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::mutant::{Mutant, seeded};

/// Counters of one CPU, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counters([AtomicU32; 3]);

/// The clock of one space's tables.
#[derive(Debug)]
pub struct Epoch {
    now: AtomicUsize,
    counters: Box<[Counters]>,
}

/// While it lives, nothing that its holder can find in the tables is freed.
#[derive(Debug)]
#[must_use = "tables may be freed as soon as the pin is dropped"]
pub struct Pin<'e>(&'e AtomicU32);

impl Epoch {
    /// A clock for descents on `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        let slots = cpus.clamp(1, 64).next_power_of_two();
        let counters = (0..slots).map(|_| Counters::default()).collect();
        Self {
            now: AtomicUsize::new(0),
            counters,
        }
    }

    /// Begins a descent. `cpu` spreads the counters; any number is right.
    #[inline]
    pub fn pin(&self, cpu: usize) -> Pin<'_> {
        let counters = &self.counters[cpu & (self.counters.len() - 1)];
        loop {
            let now = self.now.load(Ordering::Acquire);
            let counter = &counters.0[now % 3];
            counter.fetch_add(1, Ordering::SeqCst);
            full_fence();
            // Counted under an epoch that has passed, the count could be missed.
            if self.now.load(Ordering::SeqCst) == now || seeded(Mutant::PinOnce) {
                return Pin(counter);
            }
            counter.fetch_sub(1, Ordering::Release);
        }
    }

    /// What the clock shows, for something unlinked just before. A
    /// read-modify-write, because a plain load may be late.
    pub fn stamp(&self) -> usize {
        self.now.fetch_add(0, Ordering::SeqCst)
    }

    /// Moves the clock if it may move; returns what it shows now.
    pub fn advance(&self) -> usize {
        let now = self.now.load(Ordering::SeqCst);
        full_fence();
        let before = now.wrapping_add(2) % 3;
        let busy = |counters: &Counters| counters.0[before].load(Ordering::SeqCst) != 0;
        if self.counters.iter().any(busy) && !seeded(Mutant::AdvanceBlindly) {
            return now;
        }
        match self
            .now
            .compare_exchange(now, now + 1, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => now + 1,
            Err(moved) => moved,
        }
    }

    /// Whether nobody can see any more what was stamped `stamp`.
    pub fn is_over(stamp: usize, now: usize) -> bool {
        let early = if seeded(Mutant::FreeEarly) { 1 } else { 0 };
        now >= stamp + 2 - early || seeded(Mutant::FreeAtOnce)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        // Release: what was read under the pin was read before anything is freed.
        let order = if seeded(Mutant::UnpinRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        self.0.fetch_sub(1, order);
    }
}

/// Sequentially consistent operations order the counters and the clock against
/// each other; `loom` does not know their total order, so it gets a fence.
fn full_fence() {
    #[cfg(loom)]
    foliant_platform::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_pin_holds_the_clock_within_one_step() {
        let epoch = Epoch::new(2);
        let stamp = epoch.stamp();
        let pin = epoch.pin(1);
        assert_eq!(epoch.advance(), 1);
        assert_eq!(epoch.advance(), 1);
        assert!(!Epoch::is_over(stamp, 1));
        drop(pin);
        assert_eq!(epoch.advance(), 2);
        assert!(Epoch::is_over(stamp, 2));
    }
}
