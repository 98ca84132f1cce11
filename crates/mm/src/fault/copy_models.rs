//! A copy that takes the place of a frame: read-only until the flush is over,
//! then writable if no fork came between.

use foliant_phys::{FrameFlags, FrameRecord, Left};
use foliant_platform::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use foliant_platform::sync::{Arc, SpinLock};

use super::exclusive;
use crate::mutant::{Mutant, holds_and_catches};

/// What a seeded mistake leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    WritableAtOnce,
}

#[derive(Clone, Copy)]
struct Entry {
    frame: usize,
    writable: bool,
}

const OLD: usize = 0;
const COPY: usize = 1;

/// One page, whose old frame a CPU may still find in its TLB.
struct Machine {
    entry: SpinLock<Entry>,
    tlb: SpinLock<Option<usize>>,
    frames: [AtomicU32; 2],
    /// What is known of the copy.
    copy: FrameRecord,
    told: AtomicBool,
    child: SpinLock<Option<usize>>,
}

impl Machine {
    fn new() -> Arc<Self> {
        let copy = FrameRecord::default();
        copy.refs.begin();
        Arc::new(Self {
            entry: SpinLock::new(Entry {
                frame: OLD,
                writable: false,
            }),
            tlb: SpinLock::new(Some(OLD)),
            frames: [AtomicU32::new(0), AtomicU32::new(0)],
            copy,
            told: AtomicBool::new(false),
            child: SpinLock::new(None),
        })
    }

    /// The fault that copies; it holds a reference until it is done.
    fn copy(&self, mistake: Mistake) {
        let mut entry = self.entry.lock();
        self.copy.refs.get_another();
        *entry = Entry {
            frame: COPY,
            writable: mistake == Mistake::WritableAtOnce,
        };
        drop(entry);
        *self.tlb.lock() = None;
        let mut entry = self.entry.lock();
        if exclusive::claim(&self.copy, 2) {
            entry.writable = true;
        }
        drop(entry);
        assert_eq!(self.copy.refs.put(), Left::Some);
    }

    /// A CPU that stores where it may, and tells of it.
    fn store(&self) {
        let entry = *self.entry.lock();
        if entry.writable {
            self.frames[entry.frame].store(1, Ordering::Relaxed);
            self.told.store(true, Ordering::Release);
        }
    }

    /// A CPU that was told of the store, and loads.
    fn load(&self) {
        if self.told.load(Ordering::Acquire) {
            let cached = *self.tlb.lock();
            let frame = cached.unwrap_or_else(|| self.entry.lock().frame);
            let seen = self.frames[frame].load(Ordering::Relaxed);
            assert_eq!(seen, 1, "a store is not seen");
        }
    }

    fn fork(&self) {
        let mut entry = self.entry.lock();
        entry.writable = false;
        if entry.frame == COPY {
            self.copy.refs.get_another();
            self.copy.clear(FrameFlags::ANON_EXCLUSIVE);
        }
        *self.child.lock() = Some(entry.frame);
    }
}

fn stores(mistake: Mistake) {
    loom::model(move || {
        let machine = Machine::new();
        let (storing, loading) = (machine.clone(), machine.clone());
        let threads = [
            loom::thread::spawn(move || storing.store()),
            loom::thread::spawn(move || loading.load()),
        ];
        machine.copy(mistake);
        for thread in threads {
            thread.join().expect("a CPU");
        }
    });
}

#[test]
fn loom_a_store_to_a_copy_is_seen_by_all() {
    stores(Mistake::None);
}

#[test]
#[should_panic(expected = "a store is not seen")]
fn loom_mutant_that_is_writable_before_the_flush_is_caught() {
    stores(Mistake::WritableAtOnce);
}

#[test]
fn loom_a_copy_that_was_forked_is_not_writable() {
    holds_and_catches(
        || {
            let machine = Machine::new();
            let forking = machine.clone();
            let thread = loom::thread::spawn(move || forking.fork());
            machine.copy(Mistake::None);
            thread.join().expect("the fork");
            let shared = *machine.child.lock() == Some(COPY);
            let writable = machine.entry.lock().writable;
            assert!(!shared || !writable, "a frame of two is writable");
            assert_eq!(machine.copy.has(FrameFlags::ANON_EXCLUSIVE), writable);
        },
        &[Mutant::NotCounted],
    );
}

#[test]
fn loom_a_frame_is_claimed_with_what_its_last_other_holder_did() {
    holds_and_catches(
        || {
            let machine = Machine::new();
            machine.copy.refs.get_another();
            let claiming = machine.clone();
            let thread = loom::thread::spawn(move || {
                if exclusive::claim(&claiming.copy, 1) {
                    let seen = claiming.frames[COPY].load(Ordering::Relaxed);
                    assert_eq!(seen, 1, "what was done before is not seen");
                }
            });
            machine.frames[COPY].store(1, Ordering::Relaxed);
            assert_eq!(machine.copy.refs.put(), Left::Some);
            thread.join().expect("the one who claims");
        },
        &[Mutant::ClaimUnfenced],
    );
}
