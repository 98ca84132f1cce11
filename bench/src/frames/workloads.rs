//! What is measured.

use std::hint::black_box;
use std::sync::mpsc;

use foliant_units::Order;

use super::{Allocator, FRAMES, Make};
use crate::measure::{ROUNDS, Random, best, time, together};
use crate::row::Row;

/// Half of memory is in use when folios are taken in bulk.
const BULK: usize = FRAMES / 2;

/// An operation and how to measure it.
struct Workload {
    what: &'static str,
    order: u8,
    threads: &'static [usize],
    measure: fn(&dyn Allocator, usize) -> f64,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        what: "pair, order 0",
        order: 0,
        threads: &[1, 2],
        measure: |a, t| pairs(a, t, Order::ZERO),
    },
    Workload {
        what: "pair, order 1",
        order: 1,
        threads: &[1],
        measure: |a, t| pairs(a, t, order(1)),
    },
    Workload {
        what: "pair, order 2",
        order: 2,
        threads: &[1],
        measure: |a, t| pairs(a, t, order(2)),
    },
    Workload {
        what: "pair, order 3",
        order: 3,
        threads: &[1, 2],
        measure: |a, t| pairs(a, t, order(3)),
    },
    Workload {
        what: "pair, order 9",
        order: 9,
        threads: &[1, 2],
        measure: |a, t| pairs(a, t, Order::PMD),
    },
    Workload {
        what: "bulk alloc, order 0",
        order: 0,
        threads: &[1, 2],
        measure: |a, t| bulk(a, t, Order::ZERO).0,
    },
    Workload {
        what: "bulk free, order 0",
        order: 0,
        threads: &[1, 2],
        measure: |a, t| bulk(a, t, Order::ZERO).1,
    },
    Workload {
        what: "random free, order 0",
        order: 0,
        threads: &[1, 2],
        measure: random_free,
    },
    Workload {
        what: "bulk alloc, order 9",
        order: 9,
        threads: &[1, 2],
        measure: |a, t| bulk(a, t, Order::PMD).0,
    },
    Workload {
        what: "bulk free, order 9",
        order: 9,
        threads: &[1, 2],
        measure: |a, t| bulk(a, t, Order::PMD).1,
    },
    Workload {
        what: "churn",
        order: 0,
        threads: &[1, 2],
        measure: churn,
    },
    Workload {
        what: "free from another CPU",
        order: 0,
        threads: &[2],
        measure: |a, _| remote(a),
    },
];

/// Measures everything on every allocator, in turn; the first is Foliant's.
pub fn run(makes: &[Make<'_>]) -> Vec<Row> {
    let all: Vec<Box<dyn Allocator>> = makes.iter().map(|make| make()).collect();
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        let bulk = !workload.what.starts_with("pair");
        let serves = |allocator: &&dyn Allocator| allocator.serves(order(workload.order), bulk);
        let part: Vec<&dyn Allocator> = all.iter().map(|allocator| &**allocator).filter(serves).collect();
        for &threads in workload.threads {
            let mut times = vec![Vec::new(); part.len()];
            for _ in 0..ROUNDS {
                for (allocator, times) in part.iter().zip(&mut times) {
                    times.push((workload.measure)(*allocator, threads));
                }
            }
            let bests: Vec<f64> = times.into_iter().map(best).collect();
            rows.extend((1..part.len()).map(|at| Row {
                what: workload.what,
                threads,
                peer: part[at].name(),
                ours: bests[0],
                theirs: bests[at],
            }));
        }
    }
    rows
}

fn order(raw: u8) -> Order {
    Order::new(raw).unwrap_or_default()
}

/// One folio taken and given back at once.
fn pairs(allocator: &dyn Allocator, threads: usize, order: Order) -> f64 {
    const TIMES: usize = 100_000;
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        time(TIMES, || {
            for _ in 0..TIMES {
                if let Some(at) = black_box(allocator.alloc(order)) {
                    allocator.free(at, order);
                }
            }
        })
    })
}

fn take(allocator: &dyn Allocator, count: usize, order: Order) -> Vec<usize> {
    let mut held = Vec::with_capacity(count);
    held.extend((0..count).map_while(|_| allocator.alloc(order)));
    held
}

/// Half of memory taken, then given back in order.
fn bulk(allocator: &dyn Allocator, threads: usize, order: Order) -> (f64, f64) {
    let count = (BULK / threads) >> order.raw();
    let free = std::sync::Mutex::new(0.0);
    let alloc = together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut held = Vec::new();
        let alloc = time(count, || held = take(allocator, count, order));
        let freed = time(count, || held.iter().for_each(|&at| allocator.free(at, order)));
        if let Ok(mut free) = free.lock() {
            *free = f64::max(*free, freed);
        }
        alloc
    });
    (alloc, free.into_inner().unwrap_or(f64::NAN))
}

/// Half of memory given back in random order.
fn random_free(allocator: &dyn Allocator, threads: usize) -> f64 {
    let count = BULK / threads;
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut held = take(allocator, count, Order::ZERO);
        Random(cpu as u64 + 1).shuffle(&mut held);
        time(count, || {
            held.iter().for_each(|&at| allocator.free(at, Order::ZERO))
        })
    })
}

/// A random frame of many given back and another taken, over and over.
fn churn(allocator: &dyn Allocator, threads: usize) -> f64 {
    const TIMES: usize = 200_000;
    let count = BULK / threads;
    together(threads, |cpu| {
        allocator.on_cpu(cpu);
        let mut held = take(allocator, count, Order::ZERO);
        let mut random = Random(cpu as u64 + 1);
        let cost = time(2 * TIMES, || {
            for _ in 0..TIMES {
                let at = random.below(held.len());
                allocator.free(held[at], Order::ZERO);
                if let Some(new) = allocator.alloc(Order::ZERO) {
                    held[at] = new;
                }
            }
        });
        held.iter().for_each(|&at| allocator.free(at, Order::ZERO));
        cost
    })
}

/// One thread takes, another gives back: the cost of giving back.
fn remote(allocator: &dyn Allocator) -> f64 {
    const COUNT: usize = 64 * 1024;
    let (send, receive) = mpsc::channel::<Vec<usize>>();
    let (send, receive) = (std::sync::Mutex::new(Some(send)), std::sync::Mutex::new(receive));
    together(2, |cpu| {
        allocator.on_cpu(cpu);
        if cpu == 0 {
            let sender = send.lock().ok().and_then(|mut send| send.take());
            let held = take(allocator, COUNT, Order::ZERO);
            sender.map(|sender| sender.send(held));
            return 0.0;
        }
        let held = receive
            .lock()
            .ok()
            .and_then(|receive| receive.recv().ok())
            .unwrap_or_default();
        time(COUNT, || {
            held.iter().for_each(|&at| allocator.free(at, Order::ZERO))
        })
    })
}
