//! Foliant's allocator, on CPUs that are threads.

use foliant_phys::{AllocRequest, Frame, Owner, Phys};
use foliant_units::{Order, Pfn};

use super::Allocator;
use crate::machine::{self, Machine};

/// Foliant's allocator with its watermarks, statistics and reference counts.
pub(super) struct Ours(Phys<Machine>);

impl Ours {
    pub(super) fn new() -> Self {
        Self(machine::boot())
    }
}

impl Allocator for Ours {
    fn name(&self) -> &'static str {
        "foliant"
    }

    fn alloc(&self, order: Order) -> Option<usize> {
        let request = AllocRequest::movable(Owner::Anonymous).order(order).silent();
        self.0
            .alloc(request)
            .ok()
            .map(|frame| Frame::into_pfn(frame).index())
    }

    fn free(&self, at: usize, _: Order) {
        drop(self.0.adopt(Pfn::new(at as u64)));
    }

    fn on_cpu(&self, cpu: usize) {
        machine::on_cpu(cpu);
    }

    fn settle(&self) {
        self.0.drain_all();
    }
}
