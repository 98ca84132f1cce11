//! Large pages of the host behind the parts of RAM that are used.
//!
//! The host gives RAM's file a page at the first touch, and maps such pages one
//! by one. A large page behind 2 MiB of it makes all this cheaper: the first
//! touch of the other frames is nothing, a fill that shows 16 frames costs what
//! one frame costs, and one of 512 costs less. Nothing that a guest can see
//! depends on it.
//!
//! Where the host lets shared memory ask for large pages (`shmem_enabled` is
//! `advise`), they come with the first touch and nothing is left to do here.
//! Elsewhere the host takes a while to make one of the small pages that are
//! there, so one thread does it beside the programs, for blocks of which some
//! frames were shown already.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use foliant_platform::Platform;
use foliant_units::{PAGE_SHIFT, Pfn, PhysAddr};

use super::User;
use crate::host::{LARGE, make_large};

/// Frames of a block that are shown before it is worth a large page.
const WORTH: u16 = 24;
/// Blocks that may fail one after the other before the host is not asked again.
const PATIENCE: u32 = 4;
/// Frames of a block.
const FRAMES: u64 = (LARGE >> PAGE_SHIFT) as u64;

/// How much each block was used, and which wait for a large page.
pub(crate) struct Backing {
    shown: Vec<AtomicU16>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    blocks: Vec<usize>,
    closed: bool,
}

impl Backing {
    /// For RAM of `bytes`; what is left over behind the last block stays as it is.
    pub(crate) fn new(bytes: u64) -> Self {
        let blocks = bytes as usize / LARGE;
        Self {
            shown: (0..blocks).map(|_| AtomicU16::new(0)).collect(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Notes that `frames` frames from `first` on were shown, in one block.
    pub(crate) fn shown(&self, first: Pfn, frames: u64) {
        let block = (first.raw() / FRAMES) as usize;
        let Some(shown) = self.shown.get(block) else {
            return;
        };
        let before = shown.load(Ordering::Relaxed);
        if before >= WORTH {
            return;
        }
        // A count that another thread overwrites comes a little later.
        let now = before + frames.min(u64::from(WORTH)) as u16;
        if now >= WORTH && shown.swap(now, Ordering::Relaxed) < WORTH {
            self.lock().blocks.push(block);
            self.changed.notify_one();
        } else {
            shown.store(now, Ordering::Relaxed);
        }
    }

    /// No more large pages are made.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The life of the thread that makes large pages.
    pub(crate) fn serve(machine: &User) {
        let mut failed = 0;
        while failed < PATIENCE
            && let Some(block) = machine.backing().next()
        {
            let start = PhysAddr::new((block * LARGE) as u64);
            failed = match make_large(machine.ram(start)) {
                Ok(()) => 0,
                Err(_) => failed + 1,
            };
        }
        machine.backing().close();
    }

    fn next(&self) -> Option<usize> {
        let mut queue = self.lock();
        while !queue.closed {
            if let Some(block) = queue.blocks.pop() {
                return Some(block);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(|poison| poison.into_inner());
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_asked_for_once_it_is_used_and_only_once() {
        let backing = Backing::new(4 * LARGE as u64);
        let waiting = || backing.lock().blocks.clone();
        backing.shown(Pfn::new(FRAMES + 3), 1);
        assert!(waiting().is_empty());
        backing.shown(Pfn::new(FRAMES), 400);
        backing.shown(Pfn::new(FRAMES), 400);
        assert_eq!(waiting(), [1]);
    }

    #[test]
    fn frames_behind_the_last_whole_block_are_left_alone() {
        let backing = Backing::new(LARGE as u64 + 4096);
        backing.shown(Pfn::new(FRAMES), FRAMES);
        assert!(backing.lock().blocks.is_empty());
    }
}
