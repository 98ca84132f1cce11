//! A block of addresses that small maps are cut from, one after the other.
//!
//! Parts are handed out in ascending order and never twice: the block is given
//! back as a whole, and only then flushed. So a map costs no search and no
//! flush, and a flush serves hundreds of maps.

use alloc::vec::Vec;

use foliant_platform::sync::SpinLock;
use foliant_units::Pfn;

use crate::mutant::{Mutant, is_on};

/// Pages of a block.
///
/// # Linux source concept
/// `VMAP_BBMAP_BITS`.
pub(crate) const BLOCK_PAGES: u64 = 1024;

/// Pages of the largest map that is cut from a block (`VMAP_MAX_ALLOC`).
pub(crate) const LARGEST_PART: u64 = 64;

#[derive(Debug, Default)]
struct State {
    /// Pages that were handed out: all below this one.
    used: u64,
    /// Pages that came back.
    returned: u64,
    /// Nothing more is handed out.
    closed: bool,
    /// Frames of maps that came back, whose references wait for the flush.
    waiting: Vec<Pfn>,
}

/// A block.
#[derive(Debug, Default)]
pub(crate) struct Block(SpinLock<State>);

/// Whether a block is to be retired, by whoever is told so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "nobody else retires the block"]
pub(crate) enum Fate {
    /// It is in use.
    Lives,
    /// Nothing is mapped in it, and nothing ever will be.
    Over,
}

impl State {
    fn fate(&self) -> Fate {
        if self.closed && self.used == self.returned {
            Fate::Over
        } else {
            Fate::Lives
        }
    }
}

impl Block {
    /// Hands out `pages` pages; their offset in the block. `None` if there are
    /// not so many left.
    pub(crate) fn take(&self, pages: u64) -> Option<u64> {
        if is_on(Mutant::BlockInTwoSteps) {
            let offset = self.0.lock().used;
            self.0.lock().used = offset + pages;
            return Some(offset);
        }
        let mut state = self.0.lock();
        if state.closed || state.used + pages > BLOCK_PAGES {
            return None;
        }
        let offset = state.used;
        state.used += pages;
        Some(offset)
    }

    /// Hands nothing out any more.
    pub(crate) fn close(&self) -> Fate {
        let mut state = self.0.lock();
        if state.closed {
            return Fate::Lives;
        }
        state.closed = true;
        state.fate()
    }

    /// `pages` pages are unmapped; their frames wait for the flush.
    pub(crate) fn give(&self, pages: u64, frames: impl IntoIterator<Item = Pfn>) -> Fate {
        let mut state = self.0.lock();
        state.returned += pages;
        state.waiting.extend(frames);
        if is_on(Mutant::RetireTwice) {
            drop(state);
            state = self.0.lock();
        }
        state.fate()
    }

    /// The frames that wait. Whoever takes them flushes the block's pages and
    /// then puts the frames.
    pub(crate) fn take_waiting(&self) -> Vec<Pfn> {
        core::mem::take(&mut self.0.lock().waiting)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_over_when_the_last_part_of_a_closed_one_comes_back() {
        let block = Block::default();
        assert_eq!(block.take(4), Some(0));
        assert_eq!(block.take(BLOCK_PAGES - 4), Some(4));
        assert_eq!(block.take(1), None);
        assert_eq!(block.give(BLOCK_PAGES - 4, []), Fate::Lives);
        assert_eq!(block.close(), Fate::Lives);
        assert_eq!(block.give(4, [Pfn::new(7)]), Fate::Over);
        assert_eq!(block.take_waiting(), [Pfn::new(7)]);
    }

    #[test]
    fn an_unused_block_is_over_when_it_is_closed() {
        let block = Block::default();
        assert_eq!(block.close(), Fate::Over);
        assert_eq!(block.take(1), None);
    }
}
