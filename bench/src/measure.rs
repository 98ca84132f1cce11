//! Timing.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Rounds of each measurement.
pub(crate) const ROUNDS: usize = 7;

/// The median over some rounds of what `round` measured.
pub(crate) fn median(mut round: impl FnMut() -> f64) -> f64 {
    middle((0..ROUNDS).map(|_| round()).collect())
}

/// The median.
pub(crate) fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The best: where others use the machine too, they only ever add.
pub(crate) fn best(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}

/// Runs `work(thread)` on some threads at once; each measures itself and
/// returns nanoseconds per operation. The slowest counts.
pub(crate) fn together(threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(thread)
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap_or(f64::NAN))
            .fold(0.0, f64::max)
    })
}

/// Nanoseconds per operation of `work`, which does `operations` of them.
pub(crate) fn time(operations: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// The same in time that this thread had a CPU: for what neither sleeps nor
/// waits for a thread that does, on a machine that others use too.
pub(crate) fn cpu_time(operations: usize, work: impl FnOnce()) -> f64 {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
    };
    let start = now();
    work();
    (now() - start) / operations as f64
}

/// A small generator: the same seed gives the same run on every allocator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}
