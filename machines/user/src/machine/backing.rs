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
//! frames were shown already. It fails while somebody uses one of the frames, and
//! is asked again a little later.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use foliant_platform::Platform;
use foliant_units::{PAGE_SHIFT, Pfn, PhysAddr};

use super::User;
use crate::host::{LARGE, make_large};

/// Frames of a block that are shown before it is worth a large page.
const WORTH: u16 = 24;
/// Blocks that may fail one after the other before the host is not asked again.
const PATIENCE: u32 = 4;
/// How often the host is asked for one block whose frames are just in use.
const TRIES: u32 = 6;
/// Time before it is asked the second time; it doubles from time to time.
const PAUSE: Duration = Duration::from_millis(1);
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
    /// Those that come again.
    later: Vec<Again>,
    closed: bool,
}

/// A block whose frames were in use when the host was asked.
struct Again {
    at: Instant,
    block: usize,
    tries: u32,
}

impl Queue {
    /// The next block and how often it was tried, or how long there is none.
    fn next(&mut self, now: Instant) -> Result<(usize, u32), Option<Duration>> {
        if let Some(block) = self.blocks.pop() {
            return Ok((block, 0));
        }
        let first = self.later.iter().enumerate().min_by_key(|(_, again)| again.at);
        match first.map(|(index, again)| (index, again.at.saturating_duration_since(now))) {
            Some((index, Duration::ZERO)) => {
                let again = self.later.swap_remove(index);
                Ok((again.block, again.tries))
            }
            waiting => Err(waiting.map(|(_, time)| time)),
        }
    }
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
        let backing = machine.backing();
        let mut failed = 0;
        while failed < PATIENCE
            && let Some((block, tries)) = backing.next()
        {
            let start = PhysAddr::new((block * LARGE) as u64);
            match make_large(machine.ram(start)) {
                Ok(()) => failed = 0,
                // Programs are using a frame, or the host is.
                Err(error) if error.is_temporary() => backing.put_off(block, tries + 1),
                Err(_) => failed += 1,
            }
        }
        backing.close();
    }

    /// Has a block come again after a while, unless that was often enough.
    fn put_off(&self, block: usize, tries: u32) {
        if tries < TRIES {
            let at = Instant::now() + PAUSE * (1 << tries);
            self.lock().later.push(Again { at, block, tries });
        }
    }

    /// The next block and how often it was tried; `None` at the end.
    fn next(&self) -> Option<(usize, u32)> {
        let mut queue = self.lock();
        while !queue.closed {
            queue = match queue.next(Instant::now()) {
                Ok(next) => return Some(next),
                Err(Some(time)) => {
                    let waited = self.changed.wait_timeout(queue, time);
                    waited.unwrap_or_else(|poison| poison.into_inner()).0
                }
                Err(None) => {
                    let waited = self.changed.wait(queue);
                    waited.unwrap_or_else(|poison| poison.into_inner())
                }
            };
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
    fn a_block_in_use_comes_again_after_a_while_and_not_for_ever() {
        let backing = Backing::new(4 * LARGE as u64);
        let start = Instant::now();
        backing.put_off(2, 3);
        backing.put_off(1, 1);
        backing.put_off(3, TRIES);
        backing.shown(Pfn::new(0), 400);
        let mut queue = backing.lock();
        assert_eq!(queue.next(start), Ok((0, 0)), "new ones first");
        assert!(matches!(queue.next(start), Err(Some(time)) if time > Duration::ZERO));
        let later = Instant::now() + PAUSE * (1 << TRIES);
        assert_eq!(queue.next(later), Ok((1, 1)));
        assert_eq!(queue.next(later), Ok((2, 3)));
        assert_eq!(queue.next(later), Err(None));
    }

    #[test]
    fn frames_behind_the_last_whole_block_are_left_alone() {
        let backing = Backing::new(LARGE as u64 + 4096);
        backing.shown(Pfn::new(FRAMES), FRAMES);
        assert!(backing.lock().blocks.is_empty());
    }
}
