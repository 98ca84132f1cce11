//! The bytes of RAM, as CPUs and their walkers reach them.
//!
//! CPUs race with each other as real ones do, so every access is atomic; the
//! relaxed order of single bytes is all that is promised beyond a word.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use foliant_arch::EntryMemory;
use foliant_platform::{Levels, Platform};
use foliant_units::PhysAddr;

use crate::machine::SoftMachineOf;

/// What a place without memory reads as.
const NOTHING: u64 = !0;

impl<L: Levels> SoftMachineOf<L> {
    fn has_ram(&self, at: PhysAddr, len: u64) -> bool {
        let ram = self.ram_range();
        ram.contains(at) && len <= ram.end - at
    }

    fn word(&self, at: PhysAddr) -> Option<&AtomicU64> {
        if !at.is_aligned_to(8) || !self.has_ram(at, 8) {
            return None;
        }
        // SAFETY:
        // 1. The word is RAM, which lives as long as the machine.
        // 2. It is aligned, and everybody who uses RAM knows that others do too.
        Some(unsafe { AtomicU64::from_ptr(self.ram(at).as_ptr().cast()) })
    }

    fn half(&self, at: PhysAddr) -> Option<&AtomicU32> {
        if !at.is_aligned_to(4) || !self.has_ram(at, 4) {
            return None;
        }
        // SAFETY: as in `word`.
        Some(unsafe { AtomicU32::from_ptr(self.ram(at).as_ptr().cast()) })
    }

    fn byte(&self, at: PhysAddr) -> Option<&AtomicU8> {
        if !self.has_ram(at, 1) {
            return None;
        }
        // SAFETY: as in `word`; bytes are always aligned.
        Some(unsafe { AtomicU8::from_ptr(self.ram(at).as_ptr()) })
    }

    /// Reads bytes; those outside of RAM are all ones.
    pub(crate) fn read_ram(&self, at: PhysAddr, into: &mut [u8]) {
        if let (Ok(bytes), Some(word)) = (<&mut [u8; 8]>::try_from(&mut *into), self.word(at)) {
            *bytes = word.load(Ordering::Acquire).to_ne_bytes();
            return;
        }
        for (offset, byte) in into.iter_mut().enumerate() {
            let place = self.byte(at + offset as u64);
            *byte = place.map_or(NOTHING as u8, |place| place.load(Ordering::Relaxed));
        }
    }

    /// Writes bytes; those outside of RAM go nowhere.
    pub(crate) fn write_ram(&self, at: PhysAddr, from: &[u8]) {
        if let (Ok(bytes), Some(word)) = (<[u8; 8]>::try_from(from), self.word(at)) {
            word.store(u64::from_ne_bytes(bytes), Ordering::Release);
            return;
        }
        for (offset, byte) in from.iter().enumerate() {
            if let Some(place) = self.byte(at + offset as u64) {
                place.store(*byte, Ordering::Relaxed);
            }
        }
    }

    /// Replaces the word at `at` if it is `old`; gives what was there.
    pub(crate) fn exchange_ram(&self, at: PhysAddr, old: u64, new: u64) -> u64 {
        match self.word(at) {
            Some(word) => word
                .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .unwrap_or_else(|seen| seen),
            None => NOTHING,
        }
    }
}

impl<L: Levels> EntryMemory for SoftMachineOf<L> {
    fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        let found = match bytes {
            4 => self.half(at).map(|half| u64::from(half.load(Ordering::Acquire))),
            _ => self.word(at).map(|word| word.load(Ordering::Acquire)),
        };
        found.unwrap_or(NOTHING)
    }

    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match bytes {
            4 => {
                let half = self.half(at).ok_or(NOTHING)?;
                let outcome = half.compare_exchange(old as u32, new as u32, success, failure);
                outcome.map(drop).map_err(u64::from)
            }
            _ => {
                let word = self.word(at).ok_or(NOTHING)?;
                word.compare_exchange(old, new, success, failure).map(drop)
            }
        }
    }
}
