//! What is measured.

use std::alloc::Layout;
use std::fmt;
use std::hint::black_box;
use std::sync::{Mutex, mpsc};

use mimalloc::MiMalloc;

use super::Objects;
use super::ours::{ByRecord, Ours};
use super::peers::Talc;
use crate::measure::{Random, cpu_time as time, together};

/// Rounds, in each of which every allocator has its turn; medians count.
const ROUNDS: usize = 15;

/// Objects that are in use at once: more than the caches of a CPU hold.
const OBJECTS: usize = 100_000;

const SMALL: Layout = Layout::new::<[u64; 8]>();

/// An object.
#[derive(Clone, Copy)]
struct Held(*mut u8);

// SAFETY: whoever has the value has the object.
unsafe impl Send for Held {}

/// One row: nanoseconds per operation of each allocator.
#[derive(Clone, PartialEq, Debug)]
pub struct Times {
    /// What was done.
    pub what: &'static str,
    /// On how many threads.
    pub threads: usize,
    /// Foliant as a global allocator.
    pub ours: f64,
    /// Foliant, with `kfree`, which is not told the size.
    pub kfree: f64,
    /// mimalloc.
    pub mimalloc: f64,
    /// talc behind a spin lock.
    pub talc: f64,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<22} {:>2} {:>9.1} {:>9.1} {:>9.1} {:>9.1}   {:>8.2} {:>8.1}",
            self.what,
            self.threads,
            self.ours,
            self.kfree,
            self.mimalloc,
            self.talc,
            self.ours / self.mimalloc,
            self.talc / self.ours,
        )
    }
}

/// Names and threads of what [`measure`] returns, in order.
const ROWS: &[(&str, usize)] = &[
    ("pair", 1),
    ("pair", 2),
    ("alloc", 1),
    ("LIFO free", 1),
    ("alloc", 2),
    ("LIFO free", 2),
    ("random free", 1),
    ("random free", 2),
    ("mixed sizes", 1),
    ("mixed sizes", 2),
    ("remote free", 2),
];

/// Measures everything on every allocator, in turn, or the rows of one name.
pub fn run(only: Option<&str>) -> Vec<Times> {
    let (ours, kfree, talc) = (Ours::new(), ByRecord::new(), Talc::new());
    let mut times = Vec::new();
    for &(what, threads) in ROWS {
        if only.is_some_and(|only| only != what) {
            continue;
        }
        let mut rounds = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            rounds[0].push(measure(&ours, what, threads));
            rounds[1].push(measure(&kfree, what, threads));
            rounds[2].push(measure(&MiMalloc, what, threads));
            rounds[3].push(measure(&talc, what, threads));
        }
        let [ours, kfree, mimalloc, talc] = rounds.map(middle);
        times.push(Times {
            what,
            threads,
            ours,
            kfree,
            mimalloc,
            talc,
        });
    }
    times
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure<A: Objects>(allocator: &A, what: &str, threads: usize) -> f64 {
    match what {
        "pair" => pairs(allocator, threads),
        "alloc" => bulk(allocator, threads).0,
        "LIFO free" => bulk(allocator, threads).1,
        "random free" => random_free(allocator, threads),
        "mixed sizes" => mixed(allocator, threads),
        _ => remote(allocator),
    }
}

#[inline(always)]
fn take<A: Objects>(allocator: &A, layout: Layout) -> Held {
    // SAFETY: no layout here is empty.
    let at = unsafe { allocator.alloc(layout) };
    assert!(!at.is_null(), "{} has no memory left", A::NAME);
    // As a user would: the first word is written.
    // SAFETY: objects are at least eight bytes, aligned, and the caller's.
    unsafe { at.cast::<u64>().write(1) };
    Held(at)
}

#[inline(always)]
fn give<A: Objects>(allocator: &A, held: Held, layout: Layout) {
    // SAFETY: taken with this layout, from this allocator, and given back once.
    unsafe { allocator.dealloc(held.0, layout) }
}

fn take_many<A: Objects>(allocator: &A, count: usize) -> Vec<Held> {
    let mut held = Vec::with_capacity(count);
    held.extend((0..count).map(|_| take(allocator, SMALL)));
    held
}

/// One object taken and given back at once.
fn pairs<A: Objects>(allocator: &A, threads: usize) -> f64 {
    const TIMES: usize = 500_000;
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        time(TIMES, || {
            for _ in 0..TIMES {
                give(allocator, black_box(take(allocator, SMALL)), SMALL);
            }
        })
    })
}

/// Many objects taken, then given back, the last first.
fn bulk<A: Objects>(allocator: &A, threads: usize) -> (f64, f64) {
    let free = Mutex::new(0.0);
    let alloc = together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut held = Vec::new();
        let alloc = time(OBJECTS, || held = take_many(allocator, OBJECTS));
        let freed = time(OBJECTS, || {
            held.iter().rev().for_each(|&held| give(allocator, held, SMALL))
        });
        if let Ok(mut free) = free.lock() {
            *free = f64::max(*free, freed);
        }
        alloc
    });
    (alloc, free.into_inner().unwrap_or(f64::NAN))
}

/// Many objects given back in random order.
fn random_free<A: Objects>(allocator: &A, threads: usize) -> f64 {
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut held = take_many(allocator, OBJECTS);
        Random(cpu as u64 + 1).shuffle(&mut held);
        time(OBJECTS, || {
            held.iter().for_each(|&held| give(allocator, held, SMALL))
        })
    })
}

/// Of a thousand objects of 8 to 1024 bytes, one at random given back and
/// another taken, over and over.
fn mixed<A: Objects>(allocator: &A, threads: usize) -> f64 {
    const TIMES: usize = 200_000;
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut random = Random(cpu as u64 + 1);
        let mut layout = || Layout::from_size_align(8 + random.below(1017), 8).unwrap_or(SMALL);
        let taken = (0..1000).map(|_| {
            let layout = layout();
            (take(allocator, layout), layout)
        });
        let mut held: Vec<(Held, Layout)> = taken.collect();
        let plan: Vec<Layout> = (0..TIMES).map(|_| layout()).collect();
        let cost = time(TIMES, || {
            for (at, &layout) in plan.iter().enumerate() {
                // A prime stride visits all places in a fixed disorder.
                let place = at * 617 % held.len();
                give(allocator, held[place].0, held[place].1);
                held[place] = (take(allocator, layout), layout);
            }
        });
        held.iter()
            .for_each(|&(held, layout)| give(allocator, held, layout));
        cost
    })
}

/// One thread takes, another gives back: the cost of giving back.
fn remote<A: Objects>(allocator: &A) -> f64 {
    let (send, receive) = mpsc::channel::<Vec<Held>>();
    let (send, receive) = (Mutex::new(Some(send)), Mutex::new(receive));
    together(2, |cpu| {
        allocator.on_cpu(cpu);
        if cpu == 0 {
            let sender = send.lock().ok().and_then(|mut send| send.take());
            let held = take_many(allocator, OBJECTS);
            sender.map(|sender| sender.send(held));
            return 0.0;
        }
        let received = receive.lock().ok().and_then(|receive| receive.recv().ok());
        let held = received.unwrap_or_default();
        time(OBJECTS, || {
            held.iter().for_each(|&held| give(allocator, held, SMALL))
        })
    })
}
