//! The windows under `loom`, with mistakes that must be caught.
#![allow(clippy::unwrap_used)]

extern crate std;

use alloc::boxed::Box;

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_platform::sync::{Arc, SpinLock};
use foliant_units::Pfn;
use loom::thread;

use super::local_slots::LocalSlots;
use super::pkmap::Core;
use super::pkmap_book::PkmapBook;
use super::ticket::{Changes, Spin};
use crate::mutant::{Mutant, holds_and_catches};

/// A window of one slot: what the table maps, and what a CPU may remember.
struct Window {
    core: Core<Spin>,
    mapped: AtomicU64,
    cached: AtomicU64,
}

impl Window {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            core: Core {
                book: SpinLock::new(PkmapBook::new(1)),
                changes: Changes::default(),
                pause: Box::new(Spin),
            },
            mapped: AtomicU64::new(0),
            cached: AtomicU64::new(0),
        })
    }

    /// Uses a frame through the window, as a CPU whose TLB keeps everything.
    fn visit(&self, frame: u64) {
        let map = |_| self.mapped.store(frame, Ordering::Relaxed);
        let flush = |_: &[usize]| {
            self.mapped.store(0, Ordering::Relaxed);
            self.cached.store(0, Ordering::Relaxed);
        };
        let slot = self.core.claim(Pfn::new(frame), map, flush);
        if self.cached.load(Ordering::Relaxed) == 0 {
            let mapped = self.mapped.load(Ordering::Relaxed);
            self.cached.store(mapped, Ordering::Relaxed);
        }
        let seen = self.cached.load(Ordering::Relaxed);
        assert_eq!(seen, frame, "another frame shows through");
        self.core.release(slot).unwrap();
    }
}

#[test]
fn loom_a_slot_never_shows_the_frame_of_before() {
    holds_and_catches(
        || {
            let window = Window::new();
            window.visit(1);
            let other = window.clone();
            let thread = thread::spawn(move || other.visit(2));
            window.visit(1);
            thread.join().unwrap();
        },
        &[Mutant::WrapWithoutFlush],
    );
}

#[test]
fn loom_who_waits_for_a_slot_is_told_of_it() {
    holds_and_catches(
        || {
            let window = Window::new();
            let slot = window.core.claim(
                Pfn::new(1),
                |_| window.mapped.store(1, Ordering::Relaxed),
                |_: &[usize]| (),
            );
            let other = window.clone();
            let thread = thread::spawn(move || other.visit(2));
            window.core.release(slot).unwrap();
            thread.join().unwrap();
        },
        &[Mutant::TicketAfterLook, Mutant::UnmapWithoutWake],
    );
}

#[test]
fn loom_two_who_meet_on_a_cpu_get_different_slots() {
    holds_and_catches(
        || {
            let slots = Arc::new(LocalSlots::default());
            let other = slots.clone();
            let thread = thread::spawn(move || {
                let slot = other.take().unwrap();
                let again = other.take().unwrap();
                other.give(slot);
                again
            });
            let mine = slots.take().unwrap();
            assert_ne!(mine, thread.join().unwrap());
            assert_eq!(slots.depth(), 2);
        },
        &[Mutant::LocalInTwoSteps],
    );
}
