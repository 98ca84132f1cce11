//! `cargo xtask bench frames` with LLFree among the peers.

use std::cell::Cell;
use std::process::ExitCode;

use foliant_bench::frames::{Allocator, FRAMES, LLFREE, bench};
use foliant_units::Order;
use llfree::{Alloc, Classing, FrameId, Init, LLFree, MetaData, Request};

/// CPUs with reservations of their own.
const CPUS: usize = 4;

std::thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
}

struct Peer<R> {
    llfree: LLFree<'static>,
    request: R,
}

impl<R: Fn(usize, usize) -> Request + Sync> Allocator for Peer<R> {
    fn name(&self) -> &'static str {
        LLFREE
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        let request = (self.request)(order.index(), CPU.get());
        self.llfree.get(None, request).ok().map(|(frame, _)| frame.0)
    }

    fn free(&self, at: usize, order: Order) {
        let request = (self.request)(order.index(), CPU.get());
        assert!(self.llfree.put(FrameId(at), request).is_ok());
    }

    fn on_cpu(&self, cpu: usize) {
        CPU.set(cpu);
    }

    fn settle(&self) {
        self.llfree.drain();
    }
}

fn make() -> Box<dyn Allocator> {
    let (classing, request) = Classing::simple(CPUS);
    let meta = MetaData::alloc(&LLFree::metadata_size(&classing, FRAMES));
    match LLFree::new(FRAMES, Init::FreeAll, &classing, meta) {
        Ok(llfree) => Box::new(Peer { llfree, request }),
        Err(error) => panic!("LLFree does not start: {error:?}"),
    }
}

fn main() -> ExitCode {
    let missed = bench(&[&make]);
    let gate = std::env::args().any(|argument| argument == "--gate");
    if gate && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
