//! A set-associative array.

use alloc::boxed::Box;
use alloc::vec;

/// Sets and ways of an array; no sets means that it keeps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Sets; rounded up to a power of two unless zero.
    pub sets: usize,
    /// Entries per set.
    pub ways: usize,
}

/// Which entry of a full set goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replacement {
    /// Each way in its turn.
    #[default]
    InTurn,
    /// The one that was not used for longest.
    LeastRecent,
}

/// Entries found by a number that is spread over the sets by its low bits.
#[derive(Debug)]
pub(super) struct Array<E> {
    entries: Box<[Option<E>]>,
    /// The way of each set that is replaced next.
    next: Box<[u8]>,
    /// When each entry was last used, if that decides.
    used: Box<[u64]>,
    clock: u64,
    ways: usize,
    replacement: Replacement,
}

impl<E: Copy> Array<E> {
    pub(super) fn new(shape: Shape, replacement: Replacement) -> Self {
        let ways = shape.ways.clamp(1, 255);
        let sets = if shape.sets == 0 || shape.ways == 0 {
            0
        } else {
            shape.sets.next_power_of_two()
        };
        Self {
            entries: vec![None; sets * ways].into(),
            next: vec![0; sets].into(),
            used: match replacement {
                Replacement::InTurn => Box::default(),
                Replacement::LeastRecent => vec![0; sets * ways].into(),
            },
            clock: 0,
            ways,
            replacement,
        }
    }

    fn set(&self, number: u64) -> Option<usize> {
        let sets = self.next.len();
        (sets != 0).then(|| number as usize & (sets - 1))
    }

    /// The place of the entry of `number`'s set that `is_it` accepts.
    pub(super) fn find(&mut self, number: u64, is_it: impl Fn(&E) -> bool) -> Option<&mut Option<E>> {
        let first = self.set(number)? * self.ways;
        let way = self.entries[first..first + self.ways]
            .iter()
            .position(|way| way.as_ref().is_some_and(&is_it))?;
        self.use_now(first + way);
        Some(&mut self.entries[first + way])
    }

    fn use_now(&mut self, place: usize) {
        if self.replacement == Replacement::LeastRecent {
            self.clock += 1;
            self.used[place] = self.clock;
        }
    }

    /// The way of `set` that goes if none is free.
    fn victim(&mut self, set: usize) -> usize {
        match self.replacement {
            Replacement::InTurn => {
                let victim = usize::from(self.next[set]) % self.ways;
                self.next[set] = self.next[set].wrapping_add(1);
                victim
            }
            Replacement::LeastRecent => {
                let used = &self.used[set * self.ways..][..self.ways];
                let oldest = used.iter().enumerate().min_by_key(|(_, when)| **when);
                oldest.map_or(0, |(way, _)| way)
            }
        }
    }

    /// Puts `entry` in, in the place of one that `is_it` accepts if there is
    /// one; gives back an unrelated entry that had to go.
    pub(super) fn insert(&mut self, number: u64, entry: E, is_it: impl Fn(&E) -> bool) -> Option<E> {
        let set = self.set(number)?;
        let first = set * self.ways;
        let ways = &mut self.entries[first..first + self.ways];
        let same = ways.iter().position(|way| way.as_ref().is_some_and(&is_it));
        if let Some(free) = same.or_else(|| ways.iter().position(Option::is_none)) {
            ways[free] = Some(entry);
            self.use_now(first + free);
            return None;
        }
        let victim = first + self.victim(set);
        self.use_now(victim);
        self.entries[victim].replace(entry)
    }

    /// Drops the entries that `goes` names and counts them.
    pub(super) fn drop_where(&mut self, goes: impl Fn(&E) -> bool) -> u64 {
        let mut dropped = 0;
        for place in self.entries.iter_mut() {
            if place.as_ref().is_some_and(&goes) {
                *place = None;
                dropped += 1;
            }
        }
        dropped
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.iter().flatten()
    }
}
