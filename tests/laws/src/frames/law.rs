//! The suite.

use foliant_units::{MAX_ORDER, Order, Pfn};

use super::naive::Naive;
use crate::random::Random;

/// A frame allocator, as far as the laws look at it.
pub trait Frames {
    /// The frames that it gives out, all free at first.
    fn managed(&self) -> Vec<Pfn>;

    /// One folio.
    fn alloc(&mut self, order: Order) -> Option<Pfn>;

    /// Gives it back.
    fn free(&mut self, pfn: Pfn, order: Order);

    /// Checks its own books while `allocated` frames are out.
    fn audit(&self, allocated: u64);
}

/// Runs `steps` random steps and checks after each that
///
/// 1. a folio is aligned to its size and made of managed frames that were free;
/// 2. a request fails only if no aligned run of that order is free: nothing is
///    lost in caches, and nothing free is overlooked;
/// 3. the allocator's own books are right;
/// 4. when everything is given back, everything can be had again.
pub fn obeys(frames: &mut impl Frames, seed: u64, steps: u32) {
    let mut run = Run::new(frames, seed);
    for step in 0..steps {
        run.step(step);
    }
    run.give_everything_back();
    run.take_everything();
    run.give_everything_back();
}

struct Run<'a, F: Frames> {
    frames: &'a mut F,
    model: Naive,
    random: Random,
    held: Vec<(Pfn, Order)>,
    total: u64,
}

impl<'a, F: Frames> Run<'a, F> {
    fn new(frames: &'a mut F, seed: u64) -> Self {
        let managed = frames.managed();
        let end = managed.iter().map(|pfn| pfn.index() + 1).max().unwrap_or(0);
        let mut model = Naive::new(end);
        for at in (0..end as u64).map(Pfn::new) {
            if managed.binary_search(&at).is_err() {
                model.take(at, Order::ZERO);
            }
        }
        Self {
            frames,
            model,
            random: Random::new(seed),
            held: Vec::new(),
            total: managed.len() as u64,
        }
    }

    /// Phases of growing and shrinking, so that both ends are reached.
    fn step(&mut self, step: u32) {
        let growing = (step / 200).is_multiple_of(2);
        let chance = if growing { 4 } else { 2 };
        if self.held.is_empty() || self.random.below(5) < chance {
            let order = self.some_order();
            self.alloc(order);
        } else {
            let at = self.random.below(self.held.len() as u64) as usize;
            self.free(at);
        }
        self.frames.audit(self.total - self.model.count());
    }

    /// Small orders often, each order sometimes.
    fn some_order(&mut self) -> Order {
        let limit = if self.random.one_in(3) {
            u64::from(MAX_ORDER.raw()) + 1
        } else {
            3
        };
        Order::new(self.random.below(limit) as u8).unwrap_or_default()
    }

    fn alloc(&mut self, order: Order) -> bool {
        match self.frames.alloc(order) {
            Some(pfn) => {
                assert!(
                    pfn.is_aligned_to(order.frames()),
                    "{pfn:?} is no place for {order:?}"
                );
                self.model.take(pfn, order);
                self.held.push((pfn, order));
                true
            }
            None => {
                assert!(!self.model.has(order), "{order:?} failed though there is one");
                false
            }
        }
    }

    fn free(&mut self, at: usize) {
        let (pfn, order) = self.held.swap_remove(at);
        self.frames.free(pfn, order);
        super::law::Frames::free(&mut self.model, pfn, order);
    }

    fn give_everything_back(&mut self) {
        while !self.held.is_empty() {
            let at = self.random.below(self.held.len() as u64) as usize;
            self.free(at);
        }
        assert_eq!(self.model.count(), self.total);
        self.frames.audit(0);
    }

    fn take_everything(&mut self) {
        for order in Order::all().rev() {
            while self.alloc(order) {}
        }
        assert_eq!(self.model.count(), 0);
        self.frames.audit(self.total);
    }
}
