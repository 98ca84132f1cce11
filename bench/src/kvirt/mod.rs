//! The kernel's own virtual memory, on one CPU and on two at a time.
//!
//! No peer in the registry has a vmalloc to compare with, so what counts is
//! that a second CPU costs the first nothing. Time is the threads' own, not
//! the clock's: others may use the machine, too.

mod clock;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use foliant_kvirt::percpu::{FirstChunk, PerCpu};
use foliant_kvirt::stack::KernelStacks;
use foliant_kvirt::vmalloc::{Purging, Vmalloc};
use foliant_paging::PageTables;
use foliant_units::{VirtAddr, VirtRange};

use crate::machine::{self, Machine};
use crate::measure::middle;
use crate::row::{Row, print};
use clock::Sample;
use workloads::Work;

/// How much more an operation may cost when two CPUs do it at once.
const GATES: &[(&str, f64)] = &[("vmalloc+vfree 16 KiB", 1.3)];

/// Where vmalloc is in Linux's layout.
const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);

/// What the workloads run on.
pub(crate) struct Kernel {
    pub(crate) vmalloc: Arc<Vmalloc<Machine>>,
    pub(crate) percpu: PerCpu<Machine>,
    pub(crate) stacks: KernelStacks<Machine>,
}

impl Kernel {
    fn new() -> Self {
        let phys = Arc::new(machine::boot());
        let Ok(tables) = PageTables::new_kernel(&phys) else {
            panic!("no frame for a page table");
        };
        let range = VirtRange::new(START, START + (32 << 40));
        let vmalloc = Arc::new(Vmalloc::new(&Arc::new(tables), range, Purging::Lazy));
        let Ok(percpu) = PerCpu::new(&vmalloc, FirstChunk::default()) else {
            panic!("no memory for the first chunk");
        };
        Self {
            stacks: KernelStacks::new(&vmalloc, 4),
            percpu,
            vmalloc,
        }
    }
}

/// Rounds of each measurement in which the threads were there.
const ROUNDS: usize = 51;
/// Rounds until it is given up that the threads run at the same time.
const ATTEMPTS: usize = 2000;
/// The part of a round that a thread must have been on a CPU: two threads that
/// take turns on one disturb each other less than two that run at once.
const PRESENCE: f64 = 0.9;

/// One round of an operation on some CPUs at once.
fn round(kernel: &Kernel, threads: usize, work: Work) -> Option<Sample> {
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        let arrived = &arrived;
        let runs: Vec<_> = (0..threads)
            .map(|cpu| {
                scope.spawn(move || {
                    machine::on_cpu(cpu);
                    // No sleep: who waits stays on its CPU until the other is on one.
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < threads {
                        std::hint::spin_loop();
                    }
                    work(kernel, cpu)
                })
            })
            .collect();
        let samples = runs.into_iter().filter_map(|run| run.join().ok());
        samples.reduce(Sample::worst)
    })
}

/// An operation on one CPU and on two, in turn, so that a machine that gets
/// slower does so for both: the medians of the rounds that count.
fn measure(kernel: &Kernel, what: &'static str, work: Work) -> Row {
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ATTEMPTS {
        for (costs, threads) in costs.iter_mut().zip(1..) {
            if costs.len() < ROUNDS
                && let Some(sample) = round(kernel, threads, work)
                && sample.presence >= PRESENCE
            {
                costs.push(sample.cost);
            }
        }
    }
    let [one, two] = costs.map(|costs| {
        if costs.is_empty() {
            println!("{what}: the threads never ran at the same time, this machine is too busy");
            return f64::NAN;
        }
        middle(costs)
    });
    Row {
        what,
        threads: 2,
        peer: "one thread",
        ours: two,
        theirs: one,
    }
}

/// Measures everything and prints it; the gates that are missed.
pub fn bench() -> Vec<String> {
    let kernel = Kernel::new();
    let rows: Vec<Row> = workloads::ALL
        .iter()
        .map(|&(what, work)| measure(&kernel, what, work))
        .collect();
    print(&rows);
    let mut missed = Vec::new();
    for row in &rows {
        let gate = GATES.iter().find(|(what, _)| *what == row.what);
        if let Some((what, most)) = gate
            // Not measured is missed.
            && (row.ratio() > *most || row.ratio().is_nan())
        {
            missed.push(format!(
                "{what}: {:.2} times one thread, at most {most}",
                row.ratio()
            ));
        }
    }
    for line in &missed {
        println!("gate missed: {line}");
    }
    if missed.is_empty() {
        println!("every gate is met");
    }
    missed
}
