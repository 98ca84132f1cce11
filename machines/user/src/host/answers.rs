//! Calls that a stub answers by itself, because the answer never changes.
//!
//! A thread's numbers (`getpid`, `gettid`) lie in its slot's operations page,
//! which the guest reads and cannot write. The handler of `SIGSYS` takes them
//! from there and returns to the guest without a word to the supervisor, and
//! without the secret: it restores the extended state and the registers that it
//! used itself, and opens signals by the one call that the filter lets a stub
//! make without the secret. That call can only open all signals, which is what
//! they are in guest code anyway.
//!
//! A signal can come as soon as signals are open. What the handler still held in
//! its own frame is then completed by the supervisor; see [`Interrupted`].

use std::sync::atomic::Ordering;

use super::control::Control;
use super::frame::FrameLayout;
use super::layout::{OPS_SIZE, SLOT_SIZE, Slot};
use super::stub::Entries;

/// Offset in a slot of the process's and the thread's number, 4 bytes each.
pub(super) const NUMBERS: u64 = 16;
/// Offset of the word that is 1 if the stub may answer.
pub(super) const ENABLED: u64 = 24;
/// Offset, in the pages that the guest can write, of how many calls of
/// `getpid` and of `gettid` were answered. Behind the first frame of a thread
/// and far below those that signals make.
pub(super) const ANSWERED: u64 = OPS_SIZE + 0x400;

/// Where a signal met a stub that was on its way back from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// Its frame still holds all registers, answer included; the new frame lies
    /// below and says nothing.
    Returning,
    /// All registers are the guest's but RIP, which is in RCX.
    Leaving,
}

impl Control {
    /// Lets the thread of `slot` answer with its numbers.
    pub fn enable_answers(&self, slot: Slot, process: i32, thread: i32) {
        let numbers = u64::from(process.cast_unsigned()) | u64::from(thread.cast_unsigned()) << 32;
        self.word(slot, NUMBERS).store(numbers, Ordering::Relaxed);
        self.word(slot, ENABLED).store(1, Ordering::Relaxed);
    }

    /// How many calls of `getpid` and of `gettid` were answered since the last
    /// question. A guest can write what it likes here.
    pub fn take_answered(&self, slot: Slot) -> [u64; 2] {
        [0, 8].map(|at| {
            let count = self.word(slot, ANSWERED + at);
            match count.load(Ordering::Relaxed) {
                0 => 0,
                _ => count.swap(0, Ordering::Relaxed),
            }
        })
    }
}

impl Entries {
    /// Whether the frame of a signal was taken on the way back from an answer:
    /// `ucontext` is where the thread in `slot` says that it is.
    pub fn interrupted(
        &self,
        control: &Control,
        frames: &FrameLayout,
        slot: Slot,
        ucontext: u64,
    ) -> Option<Interrupted> {
        let at = ucontext.checked_sub(slot.address())?;
        if !(OPS_SIZE..SLOT_SIZE).contains(&at) || !at.is_multiple_of(8) {
            return None;
        }
        let rip = FrameLayout::rip_of(control, slot, at)?;
        if ucontext == frames.ucontext(slot) {
            return (rip == self.leave).then_some(Interrupted::Leaving);
        }
        // Not a frame's usual place: the stub still stood on its own frame.
        let below = ucontext < frames.ucontext(slot);
        (below && (self.opened..self.leave).contains(&rip)).then_some(Interrupted::Returning)
    }
}
