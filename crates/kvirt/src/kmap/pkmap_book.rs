//! Which slot shows which frame, and who uses it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foliant_units::Pfn;

use crate::mutant::{Mutant, is_on};

/// What a slot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    /// Nothing is mapped, and no CPU remembers anything.
    Free,
    /// It shows a frame to so many users; with none it may be taken for
    /// another frame, but only after a flush.
    Shows { frame: Pfn, users: u32 },
    /// It is being flushed.
    Leaving,
}

/// All slots, under the lock of their window.
#[derive(Debug)]
pub(crate) struct PkmapBook {
    slots: Box<[Slot]>,
    by_frame: BTreeMap<Pfn, usize>,
    /// The slot that was taken last.
    last: usize,
    flushing: bool,
}

/// What a request for a slot comes to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The frame is shown there already.
    Shown(usize),
    /// The slot is free for it: map the frame there.
    Taken(usize),
    /// These slots are unused; flush them, say so, and ask again.
    Flush(Vec<usize>),
    /// Every slot is used, or being flushed.
    Full,
}

impl PkmapBook {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::Free).collect(),
            by_frame: BTreeMap::new(),
            last: slots.saturating_sub(1),
            flushing: false,
        }
    }

    /// One more user of `frame`.
    pub(crate) fn claim(&mut self, frame: Pfn) -> Claim {
        if let Some(&slot) = self.by_frame.get(&frame)
            && let Slot::Shows { users, .. } = &mut self.slots[slot]
        {
            *users += 1;
            return Claim::Shown(slot);
        }
        let ahead = (self.last + 1..self.slots.len()).find(|&slot| self.slots[slot] == Slot::Free);
        if let Some(slot) = ahead {
            return self.take(slot, frame);
        }
        // Once around: what is unused by now is flushed at once.
        let unused = self.leave_unused();
        if !unused.is_empty() {
            return Claim::Flush(unused);
        }
        match self.slots.iter().position(|slot| *slot == Slot::Free) {
            Some(slot) => self.take(slot, frame),
            None => Claim::Full,
        }
    }

    fn take(&mut self, slot: usize, frame: Pfn) -> Claim {
        self.slots[slot] = Slot::Shows { frame, users: 1 };
        self.by_frame.insert(frame, slot);
        self.last = slot;
        Claim::Taken(slot)
    }

    /// Takes the unused slots out of use, if nobody is at it already.
    pub(crate) fn leave_unused(&mut self) -> Vec<usize> {
        let mut unused = Vec::new();
        if self.flushing {
            return unused;
        }
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Shows { frame, users: 0 } = *slot {
                *slot = Slot::Leaving;
                self.by_frame.remove(&frame);
                unused.push(number);
            }
        }
        self.flushing = !unused.is_empty();
        if is_on(Mutant::WrapWithoutFlush) {
            self.flushed(&unused);
        }
        unused
    }

    /// The flush is over.
    pub(crate) fn flushed(&mut self, slots: &[usize]) {
        for &slot in slots {
            if self.slots[slot] == Slot::Leaving {
                self.slots[slot] = Slot::Free;
            }
        }
        self.flushing = false;
        // From the start again.
        self.last = self.slots.len() - 1;
    }

    /// One user of `slot` less; `None` if there was none, else whether it was
    /// the last.
    pub(crate) fn release(&mut self, slot: usize) -> Option<bool> {
        match self.slots.get_mut(slot) {
            Some(Slot::Shows { users, .. }) if *users > 0 => {
                *users -= 1;
                Some(*users == 0)
            }
            _ => None,
        }
    }

    /// The slot that shows `frame`.
    pub(crate) fn slot_of(&self, frame: Pfn) -> Option<usize> {
        self.by_frame.get(&frame).copied()
    }

    /// Slots with users.
    pub(crate) fn used(&self) -> usize {
        let has_users = |slot: &&Slot| matches!(slot, Slot::Shows { users: 1.., .. });
        self.slots.iter().filter(has_users).count()
    }
}
