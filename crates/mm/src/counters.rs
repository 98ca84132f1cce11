//! What a space counts: resident frames, faults, sizes.

use foliant_platform::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::fault::{FaultError, Outcome, Weight};

/// The sort of a resident frame, as `/proc/PID/status` tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Resident {
    /// Private memory (`RssAnon`).
    Anon,
    /// Frames of files (`RssFile`).
    File,
    /// Frames of shared memory (`RssShmem`).
    Shmem,
}

/// Resident frames by sort.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rss {
    /// Private frames.
    pub anon: u64,
    /// Frames of files.
    pub file: u64,
    /// Frames of shared memory.
    pub shmem: u64,
}

impl Rss {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.anon + self.file + self.shmem
    }
}

/// Changes to the resident counts that a walk over many slots collects, to be
/// paid in at once.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct RssDelta {
    by_sort: [i64; 3],
}

impl RssDelta {
    pub(crate) fn add(&mut self, sort: Resident, frames: i64) {
        self.by_sort[sort as usize] += frames;
    }
}

/// Faults by outcome. Shared by the VMAs that one mapping was split into.
#[derive(Default, Debug)]
pub struct FaultCounts {
    by_outcome: [AtomicU64; Outcome::ALL.len()],
    refused: AtomicU64,
}

/// A moment of [`FaultCounts`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FaultTally {
    by_outcome: [u64; Outcome::ALL.len()],
    /// Faults that ended in a signal or an error.
    pub refused: u64,
}

impl FaultCounts {
    /// Counts one resolved fault.
    pub fn resolved(&self, outcome: Outcome) {
        self.resolved_many(outcome, 1);
    }

    /// Counts `faults` of them.
    pub(crate) fn resolved_many(&self, outcome: Outcome, faults: u64) {
        self.by_outcome[outcome as usize].fetch_add(faults, Ordering::Relaxed);
    }

    /// Counts one refused fault.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what another mapping counted, when the two become one.
    pub fn absorb(&self, other: &FaultTally) {
        for (mine, theirs) in self.by_outcome.iter().zip(other.by_outcome) {
            mine.fetch_add(theirs, Ordering::Relaxed);
        }
        self.refused.fetch_add(other.refused, Ordering::Relaxed);
    }

    /// The counts now, which start again from zero.
    pub(crate) fn drain(&self) -> FaultTally {
        let mut tally = FaultTally::default();
        for (to, from) in tally.by_outcome.iter_mut().zip(&self.by_outcome) {
            *to = from.swap(0, Ordering::Relaxed);
        }
        tally.refused = self.refused.swap(0, Ordering::Relaxed);
        tally
    }

    /// The counts now.
    pub fn tally(&self) -> FaultTally {
        let mut tally = FaultTally::default();
        for (to, from) in tally.by_outcome.iter_mut().zip(&self.by_outcome) {
            *to = from.load(Ordering::Relaxed);
        }
        tally.refused = self.refused.load(Ordering::Relaxed);
        tally
    }
}

impl FaultTally {
    /// Faults with this outcome.
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.by_outcome[outcome as usize]
    }

    /// All faults, refused ones included.
    pub fn total(&self) -> u64 {
        self.by_outcome.iter().sum::<u64>() + self.refused
    }

    /// The sum of two tallies.
    pub fn plus(mut self, other: &FaultTally) -> FaultTally {
        for (mine, theirs) in self.by_outcome.iter_mut().zip(other.by_outcome) {
            *mine += theirs;
        }
        self.refused += other.refused;
        self
    }
}

/// The live counters of one space.
///
/// # Units
/// Pages, unless a name says otherwise.
///
/// # Locking
/// None: each is an atomic of its own. Those that only the holder of the
/// space's writer lock changes are exact under that lock.
#[derive(Default, Debug)]
pub struct Counters {
    rss: [AtomicI64; 3],
    peak_rss: AtomicU64,
    peak_by_sort: [AtomicU64; 3],
    peak_tables: AtomicU64,
    minor: AtomicU64,
    major: AtomicU64,
    /// Faults by outcome, over all VMAs that ever were.
    pub faults: FaultCounts,
    /// Pages mapped (`total_vm`). Writer lock.
    pub total_vm: AtomicU64,
    /// Largest `total_vm` seen (`hiwater_vm`). Writer lock.
    pub peak_vm: AtomicU64,
    /// Pages of private writable mappings that are not stacks (`data_vm`). Writer lock.
    pub data_vm: AtomicU64,
    /// Pages of executable mappings that cannot be written (`exec_vm`). Writer lock.
    pub exec_vm: AtomicU64,
    /// Pages of growing stacks (`stack_vm`). Writer lock.
    pub stack_vm: AtomicU64,
    /// Pages of locked mappings (`locked_vm`). Writer lock.
    pub locked_vm: AtomicU64,
    /// Pages pinned by devices (`pinned_vm`).
    pub pinned_vm: AtomicU64,
}

/// A moment of [`Counters`], with the page tables added by the space.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CounterSnapshot {
    /// Resident frames (`VmRSS` and its parts).
    pub rss: Rss,
    /// Most frames ever resident at once (`VmHWM`).
    pub peak_rss: u64,
    /// Most frames of each sort ever resident at once; the three moments may differ.
    pub peak_by_sort: Rss,
    /// Faults that memory alone answered.
    pub minor_faults: u64,
    /// Faults that waited for a device.
    pub major_faults: u64,
    /// Faults by outcome.
    pub faults: FaultTally,
    /// Pages mapped (`VmSize`).
    pub total_vm: u64,
    /// Most pages ever mapped at once (`VmPeak`).
    pub peak_vm: u64,
    /// `VmData`.
    pub data_vm: u64,
    /// Executable pages (`VmExe` and `VmLib` are cut from these).
    pub exec_vm: u64,
    /// `VmStk`.
    pub stack_vm: u64,
    /// `VmLck`.
    pub locked_vm: u64,
    /// `VmPin`.
    pub pinned_vm: u64,
    /// Tables of each level, leaf first; the top one is not counted (`VmPTE`).
    pub tables: [u64; 4],
    /// Most tables at once, the top one not counted.
    pub peak_tables: u64,
}

impl Counters {
    /// Counts `frames` more (or fewer) resident frames.
    pub(crate) fn resident(&self, sort: Resident, frames: i64) {
        self.rss[sort as usize].fetch_add(frames, Ordering::Relaxed);
    }

    /// Pays in what a walk collected.
    pub(crate) fn apply(&self, delta: RssDelta) {
        for (counter, frames) in self.rss.iter().zip(delta.by_sort) {
            if frames != 0 {
                counter.fetch_add(frames, Ordering::Relaxed);
            }
        }
    }

    /// Notes the peaks. To be called before resident counts fall, so that
    /// faults need not compare.
    ///
    /// # Linux source concept
    /// `update_hiwater_rss()`.
    pub(crate) fn note_peak(&self) {
        let now = self.rss();
        self.peak_rss.fetch_max(now.total(), Ordering::Relaxed);
        for (peak, frames) in self.peak_by_sort.iter().zip([now.anon, now.file, now.shmem]) {
            peak.fetch_max(frames, Ordering::Relaxed);
        }
    }

    /// Lets the peak of resident frames start anew; those by sort stay, which
    /// are of no interest to Linux.
    ///
    /// # Linux source concept
    /// `reset_mm_hiwater_rss()`.
    pub(crate) fn forget_peak(&self) {
        self.peak_rss.store(self.rss().total(), Ordering::Relaxed);
    }

    /// Notes how many page tables there are. To be called before any are
    /// freed, so that those who make them need not compare.
    pub(crate) fn note_tables(&self, tables: u64) {
        self.peak_tables.fetch_max(tables, Ordering::Relaxed);
    }

    /// Counts a fault that was resolved.
    pub(crate) fn fault(&self, outcome: Outcome, weight: Weight) {
        self.faults(outcome, weight, 1);
    }

    /// Counts `count` faults that were resolved alike.
    pub(crate) fn faults(&self, outcome: Outcome, weight: Weight, count: u64) {
        self.faults.resolved_many(outcome, count);
        match weight {
            Weight::Minor => self.minor.fetch_add(count, Ordering::Relaxed),
            Weight::Major => self.major.fetch_add(count, Ordering::Relaxed),
        };
    }

    /// Counts a fault that was not: Linux counts only successes as faults.
    pub(crate) fn refused(&self, _why: FaultError) {
        self.faults.refused();
    }

    /// Resident frames now. Single counters may be off by what other CPUs do
    /// at this moment, and are never reported below zero.
    pub fn rss(&self) -> Rss {
        let frames = |sort: Resident| self.rss[sort as usize].load(Ordering::Relaxed).max(0) as u64;
        Rss {
            anon: frames(Resident::Anon),
            file: frames(Resident::File),
            shmem: frames(Resident::Shmem),
        }
    }

    /// Minor and major faults so far.
    pub fn minor_major(&self) -> (u64, u64) {
        (
            self.minor.load(Ordering::Relaxed),
            self.major.load(Ordering::Relaxed),
        )
    }

    /// Everything, now. `tables` come from the space's page tables.
    pub fn snapshot(&self, tables: [u64; 4]) -> CounterSnapshot {
        self.note_peak();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (minor_faults, major_faults) = self.minor_major();
        CounterSnapshot {
            rss: self.rss(),
            peak_rss: read(&self.peak_rss),
            peak_by_sort: Rss {
                anon: read(&self.peak_by_sort[0]),
                file: read(&self.peak_by_sort[1]),
                shmem: read(&self.peak_by_sort[2]),
            },
            minor_faults,
            major_faults,
            faults: self.faults.tally(),
            total_vm: read(&self.total_vm),
            peak_vm: read(&self.peak_vm).max(read(&self.total_vm)),
            data_vm: read(&self.data_vm),
            exec_vm: read(&self.exec_vm),
            stack_vm: read(&self.stack_vm),
            locked_vm: read(&self.locked_vm),
            pinned_vm: read(&self.pinned_vm),
            tables,
            peak_tables: read(&self.peak_tables),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_outlive_the_frames() {
        let counters = Counters::default();
        counters.resident(Resident::Anon, 5);
        counters.resident(Resident::File, 2);
        counters.note_peak();
        counters.resident(Resident::Anon, -5);
        counters.note_tables(6);
        let now = counters.snapshot([0; 4]);
        assert_eq!((now.rss.total(), now.peak_rss, now.peak_by_sort.anon), (2, 7, 5));
        assert_eq!(now.peak_tables, 6);
    }

    #[test]
    fn refused_faults_are_neither_minor_nor_major() {
        let counters = Counters::default();
        counters.fault(Outcome::Anonymous, Weight::Minor);
        counters.fault(Outcome::FileRead, Weight::Major);
        counters.refused(FaultError::Bus);
        let now = counters.snapshot([0; 4]);
        assert_eq!(
            (now.minor_faults, now.major_faults, now.faults.refused),
            (1, 1, 1)
        );
        assert_eq!(now.faults.of(Outcome::FileRead), 1);
        assert_eq!(now.faults.total(), 3);
    }
}
