//! Claiming and freeing bits of a line.

use core::array;

use foliant_platform::sync::Arc;
use foliant_units::Order;
use loom::thread;

use super::holds_and_catches;
use super::world::Word;
use crate::alloc::{Line, Tag};
use crate::mutant::Mutant;

const FRAMES: usize = 4;

/// A block of which only the first frames matter, each with a plain word.
struct Block {
    tag: Tag,
    line: Line,
    contents: [Word; FRAMES],
}

impl Block {
    fn with_free(frames: &[usize]) -> Arc<Self> {
        let block = Self {
            tag: Tag::default(),
            line: Line::default(),
            contents: array::from_fn(|_| Word::default()),
        };
        for &at in frames {
            block.line.free(at, Order::ZERO).unwrap();
        }
        Arc::new(block)
    }

    /// Takes up to `want` frames and writes to each; a bit for each.
    fn take(&self, want: u32, wait: bool) -> u32 {
        let claim = if wait {
            Some(self.tag.claim())
        } else {
            self.tag.try_claim()
        };
        let Some(claim) = claim else { return 0 };
        let mut taken = 0;
        self.line
            .claim(Order::ZERO, want, |_, bits, _| taken |= bits as u32);
        drop(claim);
        for at in (0..FRAMES).filter(|at| taken >> at & 1 == 1) {
            self.contents[at].write();
        }
        taken
    }

    fn put(&self, at: usize) {
        self.contents[at].write();
        self.line.free(at, Order::ZERO).unwrap();
    }
}

#[test]
fn loom_no_frame_is_claimed_twice() {
    holds_and_catches(
        || {
            let one = Block::with_free(&[0, 1]);
            let two = one.clone();
            let other = thread::spawn(move || two.take(1, true));
            let mine = one.take(1, true);
            let theirs = other.join().unwrap();
            assert_eq!(mine | theirs, 0b11);
            assert_eq!(mine & theirs, 0);
        },
        &[Mutant::ClaimShared, Mutant::UnclaimRelaxed],
    );
}

#[test]
fn loom_a_failed_claim_leaves_the_claimant_alone() {
    holds_and_catches(
        || {
            let one = Block::with_free(&[0, 1, 2]);
            let takers: [_; 2] = array::from_fn(|_| {
                let block = one.clone();
                thread::spawn(move || block.take(1, false))
            });
            let mine = one.take(1, false);
            let [first, second] = takers.map(|taker| taker.join().unwrap());
            assert_eq!(mine & first | mine & second | first & second, 0);
        },
        &[Mutant::ClaimEndsOther],
    );
}

#[test]
fn loom_a_frame_is_claimed_with_its_content() {
    holds_and_catches(
        || {
            // Frame 0 is in use by this thread, frame 1 is free.
            let one = Block::with_free(&[1]);
            let two = one.clone();
            let taker = thread::spawn(move || two.take(2, true));
            one.put(0);
            let taken = taker.join().unwrap();
            let left = one.take(4, true);
            assert_eq!((taken | left, taken & left), (0b11, 0));
        },
        &[Mutant::FreeRelaxed, Mutant::ClaimRelaxed, Mutant::ClaimStores],
    );
}

#[test]
fn loom_a_whole_block_is_claimed_with_its_content() {
    holds_and_catches(
        || {
            // The block is in use by this thread, as one folio.
            let one = Block::with_free(&[]);
            let two = one.clone();
            let taker = thread::spawn(move || {
                let claim = two.tag.claim();
                let taken = two.line.claim_whole();
                drop(claim);
                if taken {
                    two.contents[0].write();
                }
                taken
            });
            one.contents[0].write();
            one.line.free(0, Order::PMD).unwrap();
            let taken = taker.join().unwrap();
            assert_eq!(one.line.is_whole(), !taken);
            assert_eq!(one.line.is_used_up(), taken);
        },
        &[Mutant::FreeRelaxed, Mutant::ClaimRelaxed],
    );
}
